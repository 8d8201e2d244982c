"""The target search: which compressed variants to train in full, found by successive halving."""
