"""Submitting a training job, following it, re-attaching to it and cancelling it."""
