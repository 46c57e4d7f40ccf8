"""Maintenance keeps the tables fast and the store small: merging, checkpoints, vacuum, retention, and removal of orphaned
objects. It runs in the ledger's process, because the ledger is the only writer. Files are read, sorted and written
concurrently with commits. Only the replacement of files is a commit. The table's own thread makes it, after a check that
all files to be removed still exist. So maintenance conflicts with no commit, and delays no acknowledgement by more than
one commit. A kill at any point leaves the table unchanged. It may leave files that no version names, which the next
vacuum removes.
"""
