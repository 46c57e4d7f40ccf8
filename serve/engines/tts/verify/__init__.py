"""Checks whether rendered speech has the words of its text."""
