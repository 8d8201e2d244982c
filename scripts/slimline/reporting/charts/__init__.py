"""Inline SVG pictures, drawn by hand: pure functions from numbers to markup."""
