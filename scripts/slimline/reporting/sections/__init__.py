"""The sections of the page, one module each: from evidence to view models."""
