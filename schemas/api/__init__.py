"""Requests and responses of the HTTP API, as the contract shows them."""
