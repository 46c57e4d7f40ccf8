"""The ledger: the single writer of all tables, and the job queue. Opened by `lakehouse.ledger.ledger.Ledger.open`."""
