"""What a manifest holds, and what is wrong with it before a training finds out."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sparrot.audio import Seconds, checked_samples
from sparrot.corpora.durations import SPHINX_RATE_HZ
from sparrot.corpora.loading import stored_waveform
from sparrot.corpora.manifest import Utterance, read_leniently
from sparrot.feature_files import read_features
from sparrot.text import Tokens

WINDOW_S = 0.025
SHIFT_S = 0.010
TOLERANCE_S = 0.05  # between declared and real duration; an MP3 decoder adds some 15 ms
PERCENTILES = (0, 5, 50, 95, 100)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one utterance.

    kind:      malformed, unreadable, wrong_duration, unknown_character, no_text, too_short or duplicate.
    utterance: its id, or `line 7` where a line of a manifest is no utterance.
    """

    kind: str
    utterance: str
    explanation: str


@dataclass(frozen=True)
class Report:
    """The result of a check.

    durations:  real seconds of every utterance that can be read, in the order of the manifest.
    characters: how often each character without a token occurs.
    """

    n_utterances: int
    durations: tuple[Seconds, ...]
    characters: dict[str, int]
    problems: tuple[Problem, ...]

    @property
    def hours(self) -> float:
        """Of sound that can be read."""
        return sum(self.durations) / 3600

    @cached_property
    def percentiles(self) -> dict[int, Seconds]:
        """Duration at each of `PERCENTILES`; empty if nothing can be read."""
        if not self.durations:
            return {}
        values = np.percentile(self.durations, PERCENTILES)
        return dict(zip(PERCENTILES, map(float, values), strict=True))

    @property
    def counts(self) -> dict[str, int]:
        """Problems of each kind that occurs."""
        return dict(Counter(problem.kind for problem in self.problems))

    def to_json(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        return {
            "utterances": self.n_utterances,
            "hours": self.hours,
            "duration_percentiles": {str(share): value for share, value in self.percentiles.items()},
            "unknown_characters": self.characters,
            "counts": self.counts,
            "problems": [dataclasses.asdict(problem) for problem in self.problems],
        }


def check_manifest(path: str | Path, tokens: Tokens | None = None, *, reduction: int = 1) -> Report:
    """Like `check`, of a manifest: its lines that are no utterances are problems too, and come first.

    Raises FileNotFoundError if the manifest is missing, ValueError if it is empty.
    """
    utterances, wrong = read_leniently(path)
    report = check(utterances, tokens, reduction=reduction)
    malformed = tuple(Problem("malformed", f"line {number}", told) for number, told in wrong.items())
    return dataclasses.replace(report, problems=malformed + report.problems)


def check(utterances: Sequence[Utterance], tokens: Tokens | None = None, *, reduction: int = 1) -> Report:
    """What utterances hold and every problem with them; each file is read and decoded.

    tokens:    what texts are encoded with; None takes every character for a token.
    reduction: feature frames an output frame of the network (its strides multiplied). CTC needs as many
               output frames as there are tokens, and one more between two that are equal.
    """
    if reduction < 1:
        raise ValueError(f"the reduction is a number of frames, 1 or more; got {reduction}")
    durations: list[Seconds] = []
    characters: Counter[str] = Counter()
    problems = list(_duplicates(utterances))
    for utterance in utterances:
        unknown = [character for character in utterance.text if not _has_token(character, tokens)]
        characters.update(unknown)
        problems += _text_problems(utterance, unknown)
        try:
            duration = _duration(utterance)
        except (OSError, ValueError) as error:
            problems.append(Problem("unreadable", utterance.id, str(error)))
            continue
        durations.append(duration)
        ids = [] if unknown else list(tokens.encode(utterance.text) if tokens else utterance.text)
        problems += _duration_problems(utterance, duration, _n_frames(utterance, duration, reduction), ids)
    return Report(len(utterances), tuple(durations), dict(characters.most_common()), tuple(problems))


def _duration(utterance: Utterance) -> Seconds:
    """The real duration of an utterance, read to its end."""
    if utterance.feature_path is not None:
        return len(read_features(utterance.feature_path)) / SPHINX_RATE_HZ
    waveform = stored_waveform(utterance)
    checked_samples(waveform.samples)
    return waveform.duration


def _n_frames(utterance: Utterance, duration: Seconds, reduction: int) -> int:
    """Output frames: windows of 25 ms every 10 ms, or the given frames, by the reduction, rounded up."""
    given = utterance.feature_path is not None
    n_frames = duration / SHIFT_S if given else 1 + (duration - WINDOW_S) / SHIFT_S
    return -(-max(0, int(n_frames + 1e-6)) // reduction)


def _has_token(character: str, tokens: Tokens | None) -> bool:
    if tokens is None:
        return True
    try:
        tokens.encode(character)
    except ValueError:
        return False
    return True


def _text_problems(utterance: Utterance, unknown: Sequence[str]) -> Iterator[Problem]:
    if not utterance.text.strip():
        yield Problem("no_text", utterance.id, "its text is empty")
    if unknown:
        named = " ".join(repr(character) for character in sorted(set(unknown)))
        yield Problem("unknown_character", utterance.id, f"no token for {named} in {utterance.text[:80]!r}")


def _duration_problems(
    utterance: Utterance, duration: Seconds, n_frames: int, ids: Sequence[Any]
) -> Iterator[Problem]:
    if abs(duration - utterance.duration) > TOLERANCE_S:
        told = f"the manifest says {utterance.duration:.3f} s, the file has {duration:.3f} s"
        yield Problem("wrong_duration", utterance.id, told)
    n_needed = len(ids) + sum(first == second for first, second in pairwise(ids))
    if n_frames < max(n_needed, 1):
        told = f"{duration:.3f} s are {n_frames} output frames, and its text needs {max(n_needed, 1)}"
        yield Problem("too_short", utterance.id, told)


def _duplicates(utterances: Iterable[Utterance]) -> Iterator[Problem]:
    """Utterances with the id of an earlier one, or with the same stretch of the same file."""
    ids: set[str] = set()
    stretches: dict[Any, str] = {}
    for utterance in utterances:
        if utterance.id in ids:
            yield Problem("duplicate", utterance.id, "another utterance has this id")
        ids.add(utterance.id)
        stretch = utterance.segments or (utterance.paths()[0], utterance.start)
        if stretch in stretches:
            yield Problem("duplicate", utterance.id, f"it is the same recording as {stretches[stretch]!r}")
        stretches.setdefault(stretch, utterance.id)
