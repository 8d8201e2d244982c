"""What the shipped file scores, how fast it is, and how sure that is."""
