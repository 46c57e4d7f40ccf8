"""Full-text search over Delta tables with the semantics of PostgreSQL's ``websearch_to_tsquery('english', …)``.

Source: https://www.postgresql.org/docs/current/textsearch-controls.html.
"""

from lakehouse.search.lexeme_column import STOP_MARK, lexemes, tokenize
from lakehouse.search.search import Hit, Search
from lakehouse.search.snippet import snippet
from lakehouse.search.websearch import Query, parse

__all__ = ["STOP_MARK", "Hit", "Query", "Search", "lexemes", "parse", "snippet", "tokenize"]
