"""Typed, frozen models of everything a user can set."""
