"""Architectures by name, adapted to a dataset, and the artifacts that carry them."""
