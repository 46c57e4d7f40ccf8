"""Checks of all stored data: tables, consistency of rows, objects that rows name, digests, scratch folders.

Checks change nothing and may run while the ledger writes. `lakehouse.check.repair` repairs what can be repaired.
"""
