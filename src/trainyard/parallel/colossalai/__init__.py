"""ColossalAI's plugins."""
