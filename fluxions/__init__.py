"""The import package for client programs; see `fluxions.client`."""
