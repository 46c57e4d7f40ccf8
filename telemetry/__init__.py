"""Metrics, log lines and traces. Imports no other room, so every room may use it."""
