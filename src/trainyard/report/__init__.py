"""Figures, tables and the overview of a study."""
