"""Whether rendered speech says its text."""
