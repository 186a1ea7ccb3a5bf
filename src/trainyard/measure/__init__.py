"""Parity with the reference; speed and memory alone on the machine."""
