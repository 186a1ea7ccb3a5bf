"""What comes from elsewhere: from the hub, from package indexes, and the lock that holds it to what it was."""
