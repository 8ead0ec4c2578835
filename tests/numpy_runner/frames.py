"""The frames of one segment that a layer still needs."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32: TypeAlias = NDArray[np.float32]


class FrameQueue:
    """Frames of a segment by index, zeros on both sides of it.

    Frames arrive in order (`push`), are read any number of times (`between`) and are given up from
    the front (`forget`). Memory is that of the frames between `forget` and the last push, at most
    twice. Every read is a fresh contiguous array, so what is computed from it does not depend on
    how the frames arrived.
    """

    def __init__(self, width: int) -> None:
        self.received = 0  # index after the last frame pushed
        self._first = 0  # index of the first row of _rows; past `received` if it is yet to come
        self._rows: Float32 = np.zeros((0, width), np.float32)
        self._arrived: list[Float32] = []

    def push(self, rows: Float32) -> None:
        """Appends frames (n, width); those that were given up in advance are dropped."""
        unwanted = min(max(self._first - self.received, 0), len(rows))
        self.received += len(rows)
        self._arrived.append(rows[unwanted:])

    def between(self, begin: int, end: int) -> Float32:
        """Frames begin … end − 1 (end − begin, width), a copy; zeros where the segment has none."""
        self._merge()
        frames = np.zeros((end - begin, self._rows.shape[1]), np.float32)
        inside = slice(max(begin, self._first), min(end, self.received))
        if inside.start < inside.stop:
            held = self._rows[inside.start - self._first : inside.stop - self._first]
            frames[inside.start - begin : inside.stop - begin] = held
        return frames

    def forget(self, index: int) -> None:
        """Gives up all frames before `index`, also those that have not arrived yet."""
        self._merge()
        unwanted = max(index - self._first, 0)
        if unwanted > len(self._rows) // 2:  # copied only then, so a long backlog costs linear time
            self._rows = self._rows[unwanted:].copy()
            self._first += unwanted

    def _merge(self) -> None:
        if self._arrived:
            self._rows = np.concatenate([self._rows, *self._arrived])
            self._arrived.clear()
