"""Detectors of the end of a speaker's turn."""
