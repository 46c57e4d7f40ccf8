"""The ledger: the one writer of jobs and keys, and the queue of work."""

from lakehouse.ledger.ledger import Ledger

__all__ = ["Ledger"]
