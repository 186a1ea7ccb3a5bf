"""Faults that parity should find: seeded in real trainings, and judged as a study's probes are."""
