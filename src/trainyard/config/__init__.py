"""Catalogues, studies and the specifications of runs."""
