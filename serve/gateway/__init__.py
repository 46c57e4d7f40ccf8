"""The HTTP gateway: thin routes over the ledger, the object store and the engines."""
