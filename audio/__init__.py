"""Sound itself: decode, resample, encode, find speech. Imports schemas only, so the worker and the server can both use it."""
