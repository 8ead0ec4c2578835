"""Hotwords: phrases that are expected, and how much they are preferred."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sparrot.corpora.lines import text_lines
from sparrot.text import SPACE

DEFAULT_BOOST: Final = 5.0
LARGEST: Final = 1000.0  # of what is added to a score


def checked_boosts(hotwords: Mapping[str, float] | Sequence[str]) -> dict[str, float]:
    """The boost of each phrase, whose words have single spaces between them.

    Raises: ValueError, which names the phrase, if it has no word or is there twice, or if its boost is no
            number or too large; TypeError if they are one text.
    """
    if isinstance(hotwords, str):
        raise TypeError(
            f"hotwords are a list of phrases or a mapping to their boosts; got the text {hotwords!r}"
        )
    given = (
        hotwords.items() if isinstance(hotwords, Mapping) else ((each, DEFAULT_BOOST) for each in hotwords)
    )
    boosts: dict[str, float] = {}
    for phrase, boost in given:
        words = SPACE.join(phrase.split())
        if not words or words in boosts:
            raise ValueError(f"the hotword {phrase!r} {'is named twice' if words else 'has no letters'}")
        if not abs(boost) <= LARGEST:
            raise ValueError(
                f"the boost of the hotword {phrase!r} must be a number from {-LARGEST:g} to {LARGEST:g}; "
                f"got {boost!r}"
            )
        boosts[words] = float(boost)
    return boosts


def hotword_of(text: str) -> tuple[str, float]:
    """The phrase and the boost of `phrase` or `phrase:boost`. Raises ValueError if the boost is no number."""
    phrase, colon, boost = text.rpartition(":")
    if not colon:
        return text, DEFAULT_BOOST
    try:
        return phrase, float(boost)
    except ValueError:
        raise ValueError(
            f"a hotword is `phrase` or `phrase:boost`, as in `new york:3.5`; got {text!r}"
        ) from None


def read_hotwords(path: Path) -> list[tuple[str, float]]:
    """The hotwords of a text file, one a line as `hotword_of` takes them; empty lines are none.

    Raises: OSError if the file cannot be read; ValueError, which names the line, if one is no hotword.
    """
    found = []
    for number, line in text_lines(path):
        try:
            found += [hotword_of(line)] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"cannot read {path}, line {number}: {error}") from None
    return found
