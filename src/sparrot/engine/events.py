"""What a stream reports: words as they are guessed, and segments once they are settled."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from sparrot.audio import Seconds

Reason: TypeAlias = Literal["endpoint", "finish", "limit"]


@dataclass(frozen=True)
class Word:
    """One word, where it was heard and how sure the recogniser is of it.

    start, end: the end is the next word's start or one output frame after the word's last token,
                whichever is first; the resolution is one output frame.
    confidence: in [0, 1], see `sparrot.engine.words.confidence`.
    level:      the level that decoded the word's last token.
    """

    text: str
    start: Seconds
    end: Seconds
    confidence: float
    level: str


@dataclass(frozen=True)
class Partial:
    """What a segment reads so far.

    segment: number of the `Final` that will settle it, from 0.
    stable:  characters of `text` that will not change and that begin the `Final`'s text.
    level:   the level of the chunk decoded last.
    """

    segment: int
    text: str
    stable: int
    words: tuple[Word, ...]
    level: str


@dataclass(frozen=True)
class Final:
    """What a segment reads for good; a segment without words has none.

    confidence: the mean of its words'.
    start, end: of its first and its last word.
    reason:     what ended it: silence (`endpoint`), the end of the audio (`finish`) or the length
                that a segment may have (`limit`).
    """

    segment: int
    text: str
    words: tuple[Word, ...]
    confidence: float
    start: Seconds
    end: Seconds
    reason: Reason

    @classmethod
    def of(cls, segment: int, words: tuple[Word, ...], reason: Reason) -> "Final":
        """The `Final` of a segment that reads `words`, of which there is at least one."""
        return cls(
            segment=segment,
            text=" ".join(word.text for word in words),
            words=words,
            confidence=sum(word.confidence for word in words) / len(words),
            start=words[0].start,
            end=words[-1].end,
            reason=reason,
        )


Event: TypeAlias = Partial | Final
