"""Searches over recipes: which member of a generation goes on from whose state, under which settings."""
