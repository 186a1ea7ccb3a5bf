"""What can be said of results."""
