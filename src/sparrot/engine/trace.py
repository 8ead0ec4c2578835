"""Which level every chunk of a stream was decoded with: as it was, or as it shall be."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

from sparrot.engine.prepared import PreparedModel

Trace: TypeAlias = Sequence[tuple[int, str]]
"""The level from an output frame of the stream on, where it changes."""


class TraceLog:
    """The trace of a stream so far: 12 bytes a switch."""

    def __init__(self) -> None:
        self._frames = array("q")
        self._levels = array("I")
        self._names: list[str] = []  # of the levels, in the order of their first use

    def note(self, frame: int, level: str) -> None:
        """Says that the chunk at this frame is of this level; one level holds for all of it."""
        if self._levels and self._names[self._levels[-1]] == level:
            return
        if level not in self._names:
            self._names.append(level)
        self._frames.append(frame)
        self._levels.append(self._names.index(level))

    def entries(self) -> tuple[tuple[int, str], ...]:
        """(frame, level) where the level changed."""
        return tuple(zip(self._frames, (self._names[level] for level in self._levels), strict=True))


class Replay:
    """The levels of a stream that takes them from a trace.

    Raises: ValueError if the trace does not start at frame 0 and rise, or names a level that the model lacks.
    """

    def __init__(self, trace: Trace, model: PreparedModel) -> None:
        self._frames = [frame for frame, _ in trace]
        if not trace or self._frames[0] != 0 or self._frames != sorted(set(self._frames)):
            raise ValueError(f"a trace to replay starts at frame 0 and rises; got the frames {self._frames}")
        self._levels = [model.name(level) for _, level in trace]

    def level(self, frame: int) -> str:
        """Of the chunk that starts at this frame."""
        return self._levels[bisect_right(self._frames, frame) - 1]
