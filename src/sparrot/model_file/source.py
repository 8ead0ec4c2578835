"""The bytes of a file that stays open, read at any position by any thread or process."""

import mmap
import os
import weakref
from pathlib import Path

from sparrot.model_file.errors import FormatError


class Source:
    """An open file: what is read is the file that was opened, even if another has taken its name since.

    It has no position, so threads and forked processes do not disturb each other. It is closed when nobody
    refers to it any more. Raises OSError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self.n_bytes = os.fstat(self._file.fileno()).st_size
        self._map: mmap.mmap | None = None

    def read(self, position: int, n_bytes: int) -> bytes:
        """Exactly `n_bytes` bytes from `position` on. Raises FormatError if the file ends before."""
        if position + n_bytes > self.n_bytes:
            raise _ended(position, n_bytes, self.n_bytes)
        data = bytearray(n_bytes)
        self.read_into(position, memoryview(data))
        return bytes(data)

    def mapped(self, position: int, n_bytes: int) -> memoryview:
        """Exactly `n_bytes` bytes from `position` on: pages of the file, read when they are touched.

        A file that another program shortens or overwrites in place changes them, or ends the process: replace
        model files by renaming, as `sparrot export` does. Raises FormatError if the file ends before.
        """
        if position + n_bytes > self.n_bytes:
            raise _ended(position, n_bytes, self.n_bytes)
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), self.n_bytes, access=mmap.ACCESS_READ)
        return memoryview(self._map)[position : position + n_bytes]

    def read_into(self, position: int, memory: memoryview) -> None:
        """Nothing; fills `memory` from `position` on. Raises FormatError if the file ends before."""
        n_bytes, n_read = len(memory), 0
        if position + n_bytes > self.n_bytes:
            raise _ended(position, n_bytes, self.n_bytes)
        while n_read < n_bytes:
            n_more = os.preadv(self._file.fileno(), [memory[n_read:]], position + n_read)
            if n_more == 0:
                raise _ended(position, n_bytes, position + n_read)
            n_read += n_more


def _ended(position: int, n_bytes: int, end: int) -> FormatError:
    return FormatError(f"it ends at byte {end}, and {position + n_bytes} are needed", "end of file", end)
