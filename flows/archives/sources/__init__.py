"""Sources of archives: folders, globs, buckets, manifests. Entries are streamed and never held in memory all at once."""
