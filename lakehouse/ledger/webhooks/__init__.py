"""Webhooks in the ledger: endpoints and deliveries."""
