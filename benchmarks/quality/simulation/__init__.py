"""Simulated meetings and telephone calls with known speakers, for choosing and measuring diarization settings."""
