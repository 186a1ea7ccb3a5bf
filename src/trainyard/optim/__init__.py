"""The optimizer, its schedule and its loss scale."""
