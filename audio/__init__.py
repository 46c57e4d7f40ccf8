"""Sound itself: decode, resample, encode, find speech. Imports schemas only, so worker and server both use it."""
