"""Which of the API's tags a classifier's label stands for, by the label's text: AudioSet's names, and their kin.

AudioSet's 527 classes form a tree (Gemmeke et al. 2017, doi:10.1109/ICASSP.2017.7952261) and a clip is labelled with
parents too, so the families' names below are enough: what is a "Bark" is a "Dog" and an "Animal" as well. A term matches
where its words stand whole in the label, in order. Speech, song and names of rooms ("Inside, small room") stand for none.
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
"""Words of labels for each tag; the first tag that a label matches is its own (a belly laugh is no bell)."""


def tag_of(label: str) -> str | None:
    """The tag that ``label`` stands for, None for speech and all else that is no event."""
    words = f" {' '.join(re.findall(r'[a-z]+', label.lower()))} "
    return next((tag for tag, terms in TERMS.items() if any(f" {term} " in words for term in terms)), None)


def tags_of(labels: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Of a model's ``id2label``: the tags it can find, in the order of `TERMS`, and the outputs that stand for each."""
    found = {number: tag_of(label) for number, label in labels.items()}
    return {tag: rows for tag in TERMS if (rows := tuple(sorted(n for n, own in found.items() if own == tag)))}
