"""What a whole recording reads, and its forms: text, JSON, subtitles."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from sparrot.audio import Seconds
from sparrot.engine.events import Final, Word

MAX_CUE_CHARACTERS = 84  # two lines of 42, the usual limit of subtitles
MIN_CUE_S = 1.0  # on the screen, unless the next cue comes before
MAX_CUE_S = 7.0
MAX_PAUSE_S = 1.0  # inside a cue


@dataclass(frozen=True)
class Transcript:
    """The segments of a recording, in order.

    segments: none if nothing was heard.
    duration: of the recording.
    level:    asked for; each word carries the level that decoded it.
    """

    segments: tuple[Final, ...]
    duration: Seconds
    level: str

    @classmethod
    def within(cls, segments: Sequence[Final], duration: Seconds, level: str) -> "Transcript":
        """The transcript of a recording of this length, after which no word of it starts or ends.

        The last output frame may reach beyond the sound, into the zeros that complete it.
        """
        return cls(tuple(_clipped(segment, duration) for segment in segments), duration, level)

    @property
    def text(self) -> str:
        """Its words, joined by spaces."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; seconds to the millisecond, confidences to four decimals."""
        return {
            "text": self.text,
            "level": self.level,
            "duration": round(self.duration, 3),
            "segments": [_segment_json(segment) for segment in self.segments],
        }

    def to_text(self) -> str:
        """A line a segment."""
        return "".join(f"{segment.text}\n" for segment in self.segments)

    def to_srt(self) -> str:
        """SubRip subtitles, a cue every few words (`cues`)."""
        blocks = [
            f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_spoken(cue)}\n"
            for number, (cue, start, end) in enumerate(_timed(cues(self)), start=1)
        ]
        return "\n".join(blocks)

    def to_vtt(self) -> str:
        """WebVTT subtitles, a cue every few words (`cues`)."""
        blocks = [
            f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_escaped(_spoken(cue))}\n"
            for cue, start, end in _timed(cues(self))
        ]
        return "\n".join(["WEBVTT\n", *blocks])


def cues(transcript: Transcript) -> Iterator[tuple[Word, ...]]:
    """The words of each subtitle.

    Segments are cut at pauses over a second, and where a cue would pass 84 characters or 7 seconds.
    """
    for segment in transcript.segments:
        first = 0
        for last, (word, following) in enumerate(pairwise(segment.words), start=1):
            if _must_cut(segment.words[first:last], word, following):
                yield segment.words[first:last]
                first = last
        yield segment.words[first:]


def _timed(cues: Iterable[Sequence[Word]]) -> Iterator[tuple[Sequence[Word], Seconds, Seconds]]:
    """Each cue with its times on the screen: a second at least, but not into the next cue."""
    shown = list(cues)
    starts = [cue[0].start for cue in shown] + [float("inf")]
    for cue, start, following in zip(shown, starts, starts[1:], strict=False):
        yield cue, start, max(cue[-1].end, min(start + MIN_CUE_S, following))


def _clipped(segment: Final, duration: Seconds) -> Final:
    words = tuple(
        replace(word, start=min(word.start, duration), end=min(word.end, duration)) for word in segment.words
    )
    return Final.of(segment.segment, words, segment.reason)


def _must_cut(cue: Sequence[Word], word: Word, following: Word) -> bool:
    return (
        following.start - word.end > MAX_PAUSE_S
        or following.end - cue[0].start > MAX_CUE_S
        or len(_spoken(cue)) + 1 + len(following.text) > MAX_CUE_CHARACTERS
    )


def _spoken(cue: Sequence[Word]) -> str:
    return " ".join(word.text for word in cue)


def _clock(seconds: Seconds, point: str) -> str:
    """hh:mm:ss and milliseconds after `point`."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{milliseconds:03d}"


def _escaped(text: str) -> str:
    """Text as WebVTT wants it, where & and < begin something else."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _segment_json(segment: Final) -> dict[str, Any]:
    return {
        "text": segment.text,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "confidence": round(segment.confidence, 4),
        "reason": segment.reason,
        "words": [_word_json(word) for word in segment.words],
    }


def _word_json(word: Word) -> dict[str, Any]:
    return {
        "text": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
        "level": word.level,
    }
