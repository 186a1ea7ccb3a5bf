"""Parity with the reference; speed and memory beside no other job."""
