"""One loop for every parallel setting."""
