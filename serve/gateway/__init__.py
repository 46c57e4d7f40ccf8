"""The HTTP face: thin routes over the ledger, the object store and the engines."""
