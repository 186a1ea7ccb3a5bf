"""Trainyard: a reproducible pipeline that trains and compares language models under parallel settings."""
