"""Perplexity, HellaSwag and ROUGE of a model folder."""
