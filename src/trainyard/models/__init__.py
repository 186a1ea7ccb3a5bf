"""The model families, in transformers' format."""
