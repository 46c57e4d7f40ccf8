"""Full-text search with the meaning of PostgreSQL's ``websearch_to_tsquery('english', …)``, over Delta tables."""

from lakehouse.search.column import STOP_MARK, lexemes, tokenize

__all__ = ["STOP_MARK", "lexemes", "tokenize"]
