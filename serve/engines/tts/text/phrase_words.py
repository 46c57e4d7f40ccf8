"""Words before which a reader may pause, and abbreviations that end no sentence, in each language."""

from __future__ import annotations

from typing import Final

from serve.engines.tts.text.word_lists import NEVER_LAST, words

_CONNECTING: Final = {
    "en": words("""
        and or but nor that which who whom whose because if when where while as than though although unless until since
        to of in on at for from with by about into over under after before during through along without between
        is are was were will would can could should has have had
    """),
    "es": words("""
        y e o u pero sino que quien porque si cuando donde como aunque mientras de del a al en con por para sin sobre desde
        hasta entre según durante hacia tras es son fue era está están
    """),
    "fr": words("""
        et ou mais donc car que qui dont parce si quand où comme lorsque puisque de du des à au aux en dans avec pour par
        sans sur sous depuis entre chez vers pendant après avant est sont était
    """),
    "it": words("""
        e ed o ma che chi perché se quando dove come mentre anche di del della dei delle degli a al alla ai alle in nel
        nella con per da dal dalla su sul sulla tra fra senza dopo prima è sono era
    """),
    "pt": words("""
        e ou mas que quem porque se quando onde como embora enquanto de do da dos das a ao à aos às em no na nos nas com por
        pelo pela para sem sobre entre até desde após é são foi era está
    """),
    "hi": words("और या लेकिन पर कि जो जब तब अगर तो क्योंकि इसलिए मगर तथा एवं जहाँ जैसे"),
}
_ARTICLES: Final = words("""
    the a an this these his her its our their your my no very el la los las un una unos unas lo su sus mi tu le les une ce
    cette ces son sa ses mon ma il i gli uno o os as um uma
""")
_EDGES: Final = "\"'“”‘’()[]*¿¡«»"

NEVER_LAST_IN: Final = {
    "en": NEVER_LAST,
    "es": words("sr sra srta dr dra ud uds lic ing prof profa d dña pág págs núm n.º art cap vol fig av avda c p.ej aprox"),
    "fr": words("m mm mme mmes mlle dr pr me st ste av bd p pp art chap fig vol n env tél cf p.ex ex"),
    "it": words("sig sig.ra sig.na dott dott.ssa dr prof prof.ssa ing avv arch pag pagg art cap fig vol n tel p.es es ca"),
    "pt": words("sr sra srta dr dra prof profa eng pág págs art cap fig vol n.º av r tel p.ex ex aprox"),
    "hi": words("डॉ श्री प्रो सं पृ"),
}
"""Abbreviations after which a sentence continues, lower-case and without their last full stop."""


def starts_phrase(text: str, index: int, language: str) -> bool:
    """Whether the word at ``index`` begins a phrase and the one before it may end one: a reader may pause there."""
    after = text[index:].split(maxsplit=1)[:1]
    connecting = _CONNECTING.get(language[:2], frozenset())
    return bool(after) and _bare(after[0]) in connecting and may_end_phrase(text, index, language)


def may_end_phrase(text: str, index: int, language: str) -> bool:
    """Whether a phrase may end before ``index``: the word before is no article, preposition or conjunction."""
    before = text[:index].split()[-1:]
    connecting = _CONNECTING.get(language[:2], frozenset())
    return bool(before) and _bare(before[0]) not in connecting | _ARTICLES


def _bare(word: str) -> str:
    return word.strip(_EDGES).lower()
