"""Full-text search with the meaning of PostgreSQL's ``websearch_to_tsquery('english', …)``, over Delta tables."""

from lakehouse.search.column import STOP_MARK, lexemes, tokenize
from lakehouse.search.search import Hit, Search
from lakehouse.search.snippet import snippet
from lakehouse.search.websearch import Query, parse

__all__ = ["STOP_MARK", "Hit", "Query", "Search", "lexemes", "parse", "snippet", "tokenize"]
