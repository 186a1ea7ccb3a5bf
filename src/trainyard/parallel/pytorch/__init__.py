"""Engines on torch alone."""
