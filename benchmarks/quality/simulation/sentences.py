"""Sentences of a work meeting, composed at random, in any number."""

from __future__ import annotations

from typing import Final

import numpy as np

BACKCHANNELS: Final = (
    "Yeah.", "Mm-hmm.", "Right.", "Okay.", "Uh-huh.", "Sure.", "No.", "I see.", "Oh, really?", "Hmm.", "Yeah, yeah.",
    "Exactly.", "True.", "Oh.", "Well.", "Good point.", "That's right.", "Yep.", "Great.", "I know.", "Cool.", "So.",
)  # fmt: skip
_OPENINGS: Final = (
    "", "", "", "Well, ", "So, ", "Um, ", "I mean, ", "Okay, ", "But ", "And ", "You know, ", "Yeah, ", "Actually, ",
    "Uh, ",
)  # fmt: skip
_SUBJECTS: Final = (
    "the button on the left", "our first prototype", "the younger group", "this remote control", "the marketing report",
    "the battery", "the whole user interface", "your design", "the price we agreed", "a wooden case", "that rubber cover",
    "the voice recogniser", "the people in the survey", "the chip inside", "my colleague from Paris", "the yellow one",
    "nobody in this room", "every customer", "the fourth meeting", "the speech module", "half of our budget",
)  # fmt: skip
_VERBS: Final = (
    "could be a lot smaller", "has to go before Thursday", "costs about twelve euros", "looks quite old fashioned to me",
    "would never sell in Japan", "is what they were asking for", "gets lost behind the sofa", "should light up in the dark",
    "needs a good deal more work", "will probably break if you drop it", "was much too heavy", "might please the children",
    "doesn't really change anything", "takes three weeks to build", "goes with the new fashion", "is fine the way it is",
    "isn't something we can decide today", "worked better last time", "shows how few of them use it", "is rather ugly",
)  # fmt: skip
_TAILS: Final = (
    "", "", "", "", ", I think", ", don't you agree", ", or maybe not", ", as far as I can tell", ", for what it's worth",
    ", which is the reason I asked", ", and that worries me", ", because there are fruits and vegetables on it",
    ", if we put the switch on top", ", so let's move on to the next question", ", when you hold it in one hand",
)  # fmt: skip
_QUESTIONS: Final = (
    "What about {}?", "How do you feel about {}?", "Did anybody look at {}?", "Can we talk about {} for a minute?",
    "Why would {} matter?", "Who's going to draw {}?", "Shall we vote on {}?", "Is {} the main problem here?",
)  # fmt: skip


def sentence(random: np.random.Generator) -> str:
    """One sentence of some 2 to 6 s when spoken."""

    def one(of: tuple[str, ...]) -> str:
        return of[int(random.integers(len(of)))]

    if random.random() < 0.15:
        return one(_QUESTIONS).format(one(_SUBJECTS))
    said = f"{one(_OPENINGS)}{one(_SUBJECTS)} {one(_VERBS)}{one(_TAILS)}."
    return said[0].upper() + said[1:]
