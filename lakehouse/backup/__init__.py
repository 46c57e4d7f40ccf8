"""Backups: a consistent state of all tables and of the objects that their rows name, taken while the ledger writes.

A backup is a manifest that names files of the storage root by path and digest. Their contents are stored once for all
backups of a target, under their digests. So a backup copies only new files, and every copy can be verified.
"""
