"""Prune, quantize and distil: one step on one parent each."""
