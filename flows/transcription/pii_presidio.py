"""Personal data by Microsoft's Presidio, where it is installed (the extra `redaction`), in English.

Its pattern recognisers need no model. Names of people need a spaCy model that the operator installs; without one, Presidio
runs on spaCy's tokeniser alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from flows.transcription.pii_rules import Found
from schemas.redaction import PiiKind

_MODELS: Final = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
_LEAST_SCORE: Final = 0.4
"""Below it are patterns without context, such as any nine digits as a passport number."""
_KINDS: Final[dict[str, PiiKind]] = {
    "PERSON": "name",
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
    "IP_ADDRESS": "ip",
    "URL": "url",
    "US_BANK_NUMBER": "number",
    "US_PASSPORT": "number",
    "US_DRIVER_LICENSE": "number",
    "UK_NHS": "number",
    "CRYPTO": "number",
}


@cache
def is_installed() -> bool:
    """Whether Presidio is there."""
    return find_spec("presidio_analyzer") is not None


def find(words: Sequence[str]) -> list[Found]:
    """As `flows.transcription.pii_rules.find_by_rules`."""
    text = " ".join(words)
    found: list[Found] = []
    for result in _analyzer().analyze(text, language="en", entities=sorted(_KINDS)):
        if result.score >= _LEAST_SCORE:
            first = text.count(" ", 0, result.start)
            found.append((first, first + text[result.start : result.end].strip().count(" "), _KINDS[result.entity_type]))
    return found


@cache
def _analyzer() -> Any:
    import spacy
    import tldextract.tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    # Its list of top-level domains comes with the package; by default it would look for a newer one on the network.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "en"}])
    model = next((name for name in _MODELS if spacy.util.is_package(name)), None)
    engine.nlp = {"en": spacy.blank("en") if model is None else spacy.load(model)}
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
