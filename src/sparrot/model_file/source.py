"""The bytes of a file that stays open, read at any position by any thread or process."""

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

    def read(self, position: int, n_bytes: int) -> bytes:
        """Exactly `n_bytes` bytes from `position` on. Raises FormatError if the file ends before."""
        if position + n_bytes > self.n_bytes:
            raise _ended(position, n_bytes, self.n_bytes)
        pieces: list[bytes] = []
        n_read = 0
        while n_read < n_bytes:
            piece = os.pread(self._file.fileno(), n_bytes - n_read, position + n_read)
            if not piece:
                raise _ended(position, n_bytes, position + n_read)
            pieces.append(piece)
            n_read += len(piece)
        return b"".join(pieces)


def _ended(position: int, n_bytes: int, end: int) -> FormatError:
    return FormatError(f"it ends at byte {end}, and {position + n_bytes} are needed", "end of file", end)
