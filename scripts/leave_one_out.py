"""Choose how speech is found and where voices are parted on all meetings but one, and score that one.

    .venv/bin/python -m scripts.leave_one_out MEETINGS READINGS

For each recording with an .rttm reference in MEETINGS, the length and threshold of `audio.segment.talk` are those that miss
and invent least speech in the others. Cut and blend of `serve.diarization.voices` are those that count most of the others
right, neighbouring cuts considered, under the condition that no lone reader of READINGS is parted.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from audio import segment
from schemas.domain import Turn
from schemas.engines import Samples
from schemas.settings import Settings
from scripts.choose_voices import SPEEDS, Case, Choice, Ear, at, voices_in
from serve.cli.quality.corpus import Reference, Spoken, read_corpus
from serve.cli.quality.listening import decode_all
from serve.cli.quality.scores import SpeakerErrors, speaker_errors, speaker_rate

FRAMES = (1, 5, 7, 9, 11, 15, 21)
THRESHOLDS = (0.08, 0.12, 0.17, 0.25)
CUTS = [round(0.305 + 0.005 * i, 3) for i in range(8)]
BLENDS = (0.84, 0.86, 0.88)

Finding = tuple[int, float]
"""Frames whose log odds are taken together, and the threshold of their probability."""


@dataclass(frozen=True)
class Heard:
    """A meeting with speech found in one way: what of it is wrong; per cut and blend the number found and the errors."""

    case: Case
    speech: SpeakerErrors
    found: dict[Choice, int]
    errors: dict[Choice, SpeakerErrors]

    def right(self, choice: Choice) -> bool:
        return self.found[choice] == self.case.num_voices


def hear(ear: Ear, samples: Samples, reference: Reference, finding: Finding) -> Heard:
    segment.STEADY_FRAMES, segment.FAR_THRESHOLD = finding
    case = ear.case(samples, reference.turns, {reference.name})
    # Whoever speaks is one person here: stretches of one person that overlap are scored as one.
    anybody = [Spoken("0", turn.start_secs, turn.end_secs) for turn in case.turns]
    speech = [Turn(0, span.start_secs, span.end_secs) for span in case.speech]
    turns = {choice: ear.turns(case, choice) for choice in product(CUTS, BLENDS)}
    return Heard(
        case,
        speaker_errors(anybody, speech, case.duration_secs, 0.0),
        {choice: voices_in(t) for choice, t in turns.items()},
        {choice: speaker_errors(case.turns, t, case.duration_secs, 0.0) for choice, t in turns.items()},
    )


def chosen(meetings: Sequence[dict[Finding, Heard]], whole: Container[Choice]) -> tuple[Finding, Choice]:
    """How speech is found, and where voices are parted; ``whole`` are the choices at which no reader is parted."""
    finding = min(meetings[0], key=lambda f: speaker_rate([heard[f].speech for heard in meetings]))

    def around(choice: Choice) -> float:
        place = CUTS.index(choice[0])
        beside = [(cut, choice[1]) for cut in CUTS[max(0, place - 1) : place + 2]]
        return float(np.mean([heard[finding].right(choice) for heard in meetings for choice in beside]))

    return finding, max((choice for choice in product(CUTS, BLENDS) if choice in whole), key=around)


def main() -> None:
    ear, settings = Ear(), Settings()
    references = [r for r in read_corpus(Path(sys.argv[1])) if r.turns]
    samples = decode_all(settings, [r.audio for r in references])
    paths = sorted(p for p in Path(sys.argv[2]).iterdir() if p.suffix in (".wav", ".flac"))
    readings = [ear.case(at(r, s), (), ()) for r, s in product(decode_all(settings, paths), SPEEDS)]
    whole = {c for c in product(CUTS, BLENDS) if all(voices_in(ear.turns(r, c)) == 1 for r in readings)}
    meetings = [
        {finding: hear(ear, heard, reference, finding) for finding in product(FRAMES, THRESHOLDS)}
        for heard, reference in zip(samples, references, strict=True)
    ]
    scored: list[SpeakerErrors] = []
    exact = 0
    for i, (reference, meeting) in enumerate(zip(references, meetings, strict=True)):
        finding, choice = chosen(meetings[:i] + meetings[i + 1 :], whole)
        heard = meeting[finding]
        scored.append(heard.errors[choice])
        exact += heard.right(choice)
        print(
            f"{reference.name}: {finding[0]} frames at {finding[1]}, cut {choice[0]}, blend {choice[1]}: "
            f"{heard.found[choice]} of {heard.case.num_voices}, error {scored[-1].rate:.3f}"
        )
    mean = np.mean([e.rate for e in scored])
    print(f"number exact {exact} of {len(references)}, error rate {speaker_rate(scored):.3f}, mean {mean:.3f}")
    for finding, blend in product(meetings[0], BLENDS):
        right = {cut: sum(meeting[finding].right((cut, blend)) for meeting in meetings) for cut in CUTS}
        print(f"{finding}, blend {blend}: exact at each cut {right}")


if __name__ == "__main__":
    main()
