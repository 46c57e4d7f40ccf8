"""The words every room speaks: API models, domain types, table schemas, settings, errors. Imports nothing of ours."""
