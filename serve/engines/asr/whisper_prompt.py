"""The tokens before a transcript: prompt, key terms, language and task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from schemas.domain import RecognizeOptions
from schemas.errors import InvalidParameter

if TYPE_CHECKING:
    from faster_whisper.tokenizer import Tokenizer

PROMPT_TOKENS: Final = 223
"""Half of the decoder's context of 448 tokens, less the token that begins the prompt."""


def check_options(options: RecognizeOptions, languages: Sequence[str]) -> None:
    """Raises InvalidParameter for a language the model lacks, and for translation by a model of English."""
    if options.language is not None and options.language not in languages:
        raise InvalidParameter(
            f"the recogniser does not know the language {options.language!r}; it knows {', '.join(languages)}",
            param="language",
        )
    if options.task == "translate" and len(languages) == 1:
        raise InvalidParameter(
            "the recogniser's model knows English only, so it cannot translate; use task 'transcribe'", param="task"
        )


def prompt_tokens(options: RecognizeOptions, tokenizer: Tokenizer) -> list[int]:
    """Tokens of ``keyterms`` and ``prompt``, to be followed by the start of the transcript; none if both are empty.

    Raises InvalidParameter if they have more than 223 tokens.
    """
    hints = [", ".join(options.keyterms), options.prompt.strip()]
    tokens = [id_ for hint in hints if hint for id_ in tokenizer.encode(f" {hint}")]
    if len(tokens) > PROMPT_TOKENS:
        param = "prompt" if options.prompt else "keyterms"
        raise InvalidParameter(
            f"prompt and keyterms are {len(tokens)} tokens together, the model takes {PROMPT_TOKENS}; shorten them",
            param=param,
        )
    return [tokenizer.sot_prev, *tokens] if tokens else []
