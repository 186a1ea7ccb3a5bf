"""HTML, figures' style, and numbers as text."""
