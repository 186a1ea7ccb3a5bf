"""The labels of a batch; apart from the loader, since models and engines run without the library that reads rows."""

IGNORE_INDEX = -100
"""The label of a position where nothing is predicted, as torch's cross-entropy has it."""
