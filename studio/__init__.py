"""The studio: the page at `/studio`, in ``static``, and how its files are read. The page uses the public API only."""
