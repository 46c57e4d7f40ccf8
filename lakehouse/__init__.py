"""Durable data: Delta tables that one ledger writes, objects, and reads of both."""
