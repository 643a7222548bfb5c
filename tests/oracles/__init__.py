"""Slow, obvious versions of what the core does fast; tests compare the two. Change the core, not these."""
