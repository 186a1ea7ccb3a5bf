"""Reading what jobs have left."""
