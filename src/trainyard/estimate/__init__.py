"""Parameters and memory of a model, told by arithmetic, without torch."""
