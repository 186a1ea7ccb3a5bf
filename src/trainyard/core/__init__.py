"""What every package builds on: files, errors, statistics, the repository."""
