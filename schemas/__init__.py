"""Types that all rooms share: API models, domain types, table schemas, settings, errors. Imports nothing of ours."""
