"""What results came from, whether that still holds, and all of a study in one file."""
