"""Maps a classifier's labels to the API's tags, by the label's text: AudioSet's names and similar ones.

AudioSet's 527 classes form a tree (Gemmeke et al. 2017, doi:10.1109/ICASSP.2017.7952261) and a clip is labelled with
parents too, so the names of families are enough: a "Bark" is also a "Dog" and an "Animal". A term matches if its words
occur in the label, whole and in order. Speech, song and names of rooms ("Inside, small room") have no tag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

ENV: Final = "env"

TERMS: Final[dict[str, tuple[str, ...]]] = {
    "laugh": ("laughter", "laughing", "laugh", "giggle", "snicker", "chuckle"),
    "cough": ("cough", "coughing", "throat clearing"),
    "sigh": ("sigh", "sighing"),
    "sniff": ("sniff", "sniffle", "sniffing"),
    "tut": ("tut", "tongue click", "lip smack", "lip smacking", "mouth click"),
    "hesitation": ("hesitation", "filler", "filled pause"),
    "breath": ("breathing", "breath", "gasp", "pant", "wheeze", "inhale", "exhale", "inhalation", "exhalation"),
    ENV: (
        *("noise", "static", "hum", "environmental noise", "television", "radio", "music"),
        *("animal", "dog", "cat", "bird", "insect", "wind", "rain", "thunder", "water", "fire", "explosion", "gunshot"),
        *("vehicle", "car", "truck", "train", "aircraft", "engine", "siren", "traffic", "bicycle", "skidding"),
        *("door", "doorbell", "knock", "slam", "footsteps", "typing", "computer keyboard", "writing", "clock"),
        *("alarm", "bell", "buzzer", "telephone", "ringtone", "beep", "clicking", "mechanisms", "printer", "tools"),
        *("mechanical fan", "air conditioning", "vacuum cleaner", "dishes", "cutlery", "glass", "coin", "keys jangling"),
        *("applause", "clapping", "cheering", "crowd", "chatter", "hubbub", "thump", "bang", "rustle", "clatter", "squeak"),
    ),
}
"""Terms for each tag; a label has the first tag that matches (a belly laugh is no bell)."""


def tag_of(label: str) -> str | None:
    """The tag of ``label``; None for speech and everything else that is no event."""
    words = f" {' '.join(re.findall(r'[a-z]+', label.lower()))} "
    return next((tag for tag, terms in TERMS.items() if any(f" {term} " in words for term in terms)), None)


def tags_of(labels: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """The tags that a model with this ``id2label`` can find, in the order of `TERMS`, with their outputs."""
    found = {number: tag_of(label) for number, label in labels.items()}
    return {tag: rows for tag in TERMS if (rows := tuple(sorted(n for n, own in found.items() if own == tag)))}
