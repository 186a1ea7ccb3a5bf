"""Trainyard: a reproducible pipeline that trains and compares language models under parallel settings."""

# what requirements.lock has wheels for; read by an older Python too, which is told of them
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
PYTHONS = "Python 3.11 to 3.14"
