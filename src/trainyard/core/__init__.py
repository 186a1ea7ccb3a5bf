"""What every package stands on: files, errors, statistics, the repository."""
