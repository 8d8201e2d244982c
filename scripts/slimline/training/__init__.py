"""The trainer: everything that takes gradient steps."""
