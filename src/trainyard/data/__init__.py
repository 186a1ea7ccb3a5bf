"""From sources to rows, tokens and batches."""
