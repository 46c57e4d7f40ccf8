"""All that lasts: Delta tables written by one ledger, objects, and the questions asked of them. Imports schemas only."""
