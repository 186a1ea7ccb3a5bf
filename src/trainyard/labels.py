"""What labels say to the loss, in data, models and parallel settings alike."""

NOT_PREDICTED = -100
"""The label of a position where nothing is predicted."""
