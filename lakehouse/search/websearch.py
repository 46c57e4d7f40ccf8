"""Queries as typed into a search box, parsed as PostgreSQL's ``websearch_to_tsquery('english', …)`` does.

``dentist appointment``    both words, anywhere
``"dental appointment"``   one after the other; stop words between them count as a word
``dentist or doctor``      either; ``or`` binds less tightly than the blank
``-dentist``               not this word, or not this phrase
``well-known``             a phrase: the compound, then its parts

Words are compared by stem, stop words are ignored, and nothing is a syntax error.
"""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.search.lexeme_column import tokenize
from schemas.errors import InvalidParameter

MAX_CHARACTERS = 1000
MAX_TERMS = 64

# Blanks as PostgreSQL has them, from the C library: no-break spaces are not blanks.
_BLANKS = " \t\n\r\v\f\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u2028\u2029\u205f\u3000"
_IGNORED = "!&|()<"
_SKIPPED = frozenset(_BLANKS + _IGNORED)
_ENDS_WORD = _SKIPPED | frozenset(':"')


@dataclass(frozen=True, slots=True)
class Term:
    """Lexemes that must follow each other; None is any one word. Neither the first nor the last is None."""

    lexemes: tuple[str | None, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Matches a text in which all terms of one of ``alternatives`` hold. Without alternatives it matches nothing.

    ``text`` is the query as typed, without control characters.
    """

    text: str
    alternatives: tuple[tuple[Term, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    @property
    def wanted(self) -> tuple[Term, ...]:
        """The terms that are not negated, each once."""
        return tuple(dict.fromkeys(term for terms in self.alternatives for term in terms if not term.negated))


def parse(text: str, *, param: str = "q") -> Query:
    """Parse a query. Raises InvalidParameter over 1,000 characters or 64 different terms."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidParameter(f"`{param}` has {len(text)} characters; at most {MAX_CHARACTERS} are allowed", param=param)
    # No stored text contains NUL or an unpaired surrogate.
    text = text.replace("\x00", "").encode(errors="replace").decode()
    alternatives: dict[tuple[Term, ...], None] = {}
    for operands in _Scanner(text).alternatives():
        terms = dict.fromkeys(term for phrase, negated in operands if (term := _term(phrase, negated)))
        if terms:
            alternatives[tuple(terms)] = None
    query = Query(text, tuple(alternatives))
    num_terms = len({term for terms in alternatives for term in terms})
    if num_terms > MAX_TERMS:
        raise InvalidParameter(f"`{param}` has {num_terms} different terms; at most {MAX_TERMS} are allowed", param=param)
    return query


def _term(phrase: str, negated: bool) -> Term | None:
    lexemes = tokenize(phrase)
    words = [position for position, lexeme in enumerate(lexemes) if lexeme is not None]
    return Term(tuple(lexemes[words[0] : words[-1] + 1]), negated) if words else None


class _Scanner:
    """Reads a query from left to right: an operand, then perhaps ``or``, and so on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def alternatives(self) -> list[list[tuple[str, bool]]]:
        """(phrase, negated) operands; those of one list are joined by *and*, the lists by *or*."""
        found: list[list[tuple[str, bool]]] = [[]]
        while (operand := self._operand()) is not None:
            found[-1].append(operand)
            if self._skip_or():
                found.append([])
        return found

    def _operand(self) -> tuple[str, bool] | None:
        negated = False
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "-":
                negated = not negated
            elif character == '"':
                return self._until('"', self._at + 1), negated
            elif character not in _SKIPPED:
                return self._word(), negated
            self._at += 1
        return None

    def _until(self, quote: str, start: int) -> str:
        """The text from ``start`` to the next quote, or to the end if none follows."""
        end = self._text.find(quote, start)
        end = len(self._text) if end < 0 else end
        self._at = end + 1
        return self._text[start:end]

    def _word(self) -> str:
        start = self._at
        self._at += 1
        while self._at < len(self._text) and self._text[self._at] not in _ENDS_WORD:
            self._at += 1
        return self._text[start : self._at]

    def _skip_or(self) -> bool:
        """After an operand: whether the word ``or`` follows, with something to search for after it."""
        while self._at < len(self._text) and self._text[self._at] in _SKIPPED:
            self._at += 1
        if not self._or_follows():
            return False
        self._at += 2
        return True

    def _or_follows(self) -> bool:
        after = self._text[self._at + 2 : self._at + 3]
        if self._text[self._at : self._at + 2].lower() != "or" or not after:
            return False
        if after in "-_" or after.isalpha() or after.isdecimal():
            return False
        return bool(self._text[self._at + 3 :].strip(_BLANKS))
