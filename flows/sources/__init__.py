"""What an archive is made of: folders, globs, buckets, manifests; streams of entries that nobody holds all at once."""
