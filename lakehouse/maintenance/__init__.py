"""Keeping the tables fast and the store small: merging, checkpoints, vacuum, retention of events, orphaned objects.

The ledger's process does it, for the ledger is the one writer. Reading, sorting and writing files happen beside the
commits; only the exchange of file names is a commit, made between two others on the table's own thread, after a look
whether all
files it takes away are still there. So maintenance conflicts with nothing and holds up no acknowledgement for longer than
one commit. Killed anywhere, it leaves the table as it was, and files nobody names, which the next vacuum removes.
"""
