"""Connected digits made of single recordings: one speaker a string, every recording equally often.

A string has 1 to 7 digits. Before the first there are 0.10-0.30 s of silence, between two 0.05-0.30 s,
after the last 0.10-0.30 s, drawn uniformly in whole milliseconds; silence is digital zero. (Training on
strings without lead-in reached a plateau; 90 ms of it were enough.)
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias, TypeVar

from sparrot.corpora.manifest import Segment, Utterance

Item = TypeVar("Item")
Milliseconds: TypeAlias = int
Draw: TypeAlias = Callable[[], float]  # the next number of a random sequence, in [0, 1)


@dataclass(frozen=True)
class StringShape:
    """The number of digits in a string and the silence around them; ranges include both ends.

    trim: largest share of a recording that is cut off its start, and likewise off its end. Half of all
          starts and ends stay whole; what the others lose is drawn uniformly.
    rotate: share of the recordings that are heard from a random point on and then from their start up to it,
            as repetitions of a word sound that were cut apart at the wrong places. Our choice.
    """

    digits: tuple[int, int] = (1, 7)
    lead_in_ms: tuple[Milliseconds, Milliseconds] = (100, 300)
    gap_ms: tuple[Milliseconds, Milliseconds] = (50, 300)
    tail_ms: tuple[Milliseconds, Milliseconds] = (100, 300)
    trim: float = 0.0
    rotate: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("digits", 1), ("lead_in_ms", 0), ("gap_ms", 0), ("tail_ms", 0)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(
                    f"`{name}` is a range from {least} or more, low end first; got {low} to {high}"
                )
        if not 0.0 <= self.trim < 0.5:
            raise ValueError(f"`trim` is at least 0 and below 0.5, which leaves nothing; got {self.trim}")
        if not 0.0 <= self.rotate <= 1.0:
            raise ValueError(f"`rotate` is a share between 0 and 1; got {self.rotate}")


DEFAULT_SHAPE = StringShape()
_SHORTEST_STRETCH = 0.001  # seconds of a rotated recording; no shorter piece is heard


def draw_strings(
    recordings: Sequence[Utterance], n_strings: int, seed: int | str, shape: StringShape = DEFAULT_SHAPE
) -> list[Utterance]:
    """`n_strings` strings of connected words in random order, the same ones whenever the seed is the same.

    Every speaker has its share of the strings, and their lengths are spread evenly over `shape.digits`,
    as far as both allow that no recording is used more than once more often than another. Each string
    lists the ids of its recordings in `others["recordings"]`.

    Raises: ValueError if a recording lacks speaker or audio, or if there are fewer strings than speakers.
    """
    draw = random.Random(f"strings/{seed}").random  # the one sequence that Python promises never to change
    speakers = _by_speaker(recordings)
    if n_strings < len(speakers):
        raise ValueError(
            f"cannot draw {n_strings} strings of {len(speakers)} speakers; every speaker needs one"
        )
    strings = []
    for speaker, used in _uses(speakers, n_strings, shape, draw).items():
        lengths = _lengths(len(used), _share(speakers, speaker, n_strings), shape, draw)
        words = iter(used)
        strings += [list(islice(words, length)) for length in lengths]
    return [_joined(words, index, shape, draw) for index, words in enumerate(_shuffled(strings, draw))]


def training_strings(
    recordings: Sequence[Utterance],
    n_strings: int,
    seed: int,
    epoch: int,
    shape: StringShape = DEFAULT_SHAPE,
) -> list[Utterance]:
    """The strings of one epoch: drawn like those of the tests, afresh for every epoch of every seed."""
    return draw_strings(recordings, n_strings, f"{seed}/{epoch}", shape)


def _by_speaker(recordings: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """The recordings of each speaker, all sorted, so that their order on disk does not matter."""
    speakers: dict[str, list[Utterance]] = defaultdict(list)
    for recording in sorted(recordings, key=lambda recording: recording.id):
        if recording.speaker is None or recording.audio_path is None:
            raise ValueError(f"cannot join recording {recording.id!r}: it needs a speaker and an audio file")
        speakers[recording.speaker].append(recording)
    if not speakers:
        raise ValueError("cannot draw strings: there are no recordings")
    return dict(sorted(speakers.items()))


def _share(speakers: Mapping[str, Sequence[Utterance]], speaker: str, n_strings: int) -> int:
    """Strings of one speaker, in proportion to its recordings; the shares of all add up to `n_strings`.

    A speaker has round(n · c) − round(n · b) of them, where b and c are the fractions of recordings that
    belong to the speakers before it, and to those and itself. Nobody's share is none.
    """
    names = list(speakers)
    spare = n_strings - len(names)  # what is left when everybody has one
    total = sum(map(len, speakers.values()))
    before = sum(len(speakers[name]) for name in names[: names.index(speaker)])
    return 1 + round(spare * (before + len(speakers[speaker])) / total) - round(spare * before / total)


def _uses(
    speakers: Mapping[str, Sequence[Utterance]], n_strings: int, shape: StringShape, draw: Draw
) -> dict[str, list[Utterance]]:
    """Recordings in the order in which each speaker's strings use them, pass after pass through all of them.

    There are about as many uses as strings of mean length need. The last pass is of a random part of the
    recordings, taken from every speaker alike.
    """
    n_recordings = sum(map(len, speakers.values()))
    n_uses = n_strings * sum(shape.digits) // 2
    n_passes, n_extra = divmod(n_uses, n_recordings)
    uses = {}
    for speaker, recordings in speakers.items():
        n_last = round(n_extra * len(recordings) / n_recordings)
        passes = [_shuffled(recordings, draw) for _ in range(n_passes)]
        uses[speaker] = [*(r for one in passes for r in one), *_shuffled(recordings, draw)[:n_last]]
    return uses


def _lengths(n_words: int, n_strings: int, shape: StringShape, draw: Draw) -> list[int]:
    """Lengths of `n_strings` strings with `n_words` words in all, spread evenly, in random order.

    They start as 1, 2, …, 7, 1, 2, … and move by one at a time, drawn at random, until their sum is right.
    """
    low, high = shape.digits
    if not n_strings * low <= n_words <= n_strings * high:
        raise ValueError(
            f"cannot make {n_strings} strings of {low} to {high} words out of {n_words} words; "
            f"change their number"
        )
    lengths = _shuffled([low + index % (high - low + 1) for index in range(n_strings)], draw)
    while (missing := n_words - sum(lengths)) != 0:
        index, step = int(draw() * n_strings), 1 if missing > 0 else -1
        if low <= lengths[index] + step <= high:
            lengths[index] += step
    return lengths


def _joined(words: Sequence[Utterance], index: int, shape: StringShape, draw: Draw) -> Utterance:
    """One string of recordings with its silences."""
    gaps = [_seconds(shape.gap_ms if place else shape.lead_in_ms, draw) for place in range(len(words))]
    segments = tuple(
        segment
        for word, gap in zip(words, gaps, strict=True)
        for segment in _segments(word, gap, shape, draw)
    )
    tail = _seconds(shape.tail_ms, draw)
    return Utterance(
        id=f"{words[0].speaker}-{index:05d}",
        text=" ".join(word.text for word in words),
        speaker=words[0].speaker,
        split=words[0].split,
        duration=round(sum(s.gap + s.duration for s in segments) + tail, 6),
        segments=segments,
        tail=tail,
        others={"recordings": [word.id for word in words]},
    )


def _segments(word: Utterance, gap: float, shape: StringShape, draw: Draw) -> list[Segment]:
    """What is heard of a recording: one stretch, or two if it is rotated.

    The sound at `t` of what is left is that of the recording at (t + turn) mod duration.
    """
    path, start, duration = word.audio_path, word.start or 0.0, word.duration
    assert path is not None
    before = after = turn = 0.0
    if shape.trim > 0.0:
        before, after = (round(shape.trim * max(0.0, 2.0 * draw() - 1.0) * duration, 6) for _ in range(2))
    if shape.rotate > 0.0 and draw() < shape.rotate:
        turn = round(draw() * duration, 6)
    last, wrap = duration - after, duration - turn
    stretches = [(before + turn, min(last, wrap) + turn), (max(before, wrap) - wrap, last - wrap)]
    heard = [(a, b) for a, b in stretches if b - a >= _SHORTEST_STRETCH]
    return [
        Segment(audio_path=path, start=start + a, duration=b - a, gap=0.0 if place else gap)
        for place, (a, b) in enumerate(heard)
    ]


def _seconds(range_ms: tuple[Milliseconds, Milliseconds], draw: Draw) -> float:
    low, high = range_ms
    return (low + int(draw() * (high - low + 1))) / 1000


def _shuffled(items: Iterable[Item], draw: Draw) -> list[Item]:
    return sorted(items, key=lambda _: draw())
