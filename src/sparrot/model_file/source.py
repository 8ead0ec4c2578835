"""The bytes of a file that stays open, read at any position by any thread."""

import os
import threading
import weakref
from pathlib import Path

from sparrot.model_file.errors import FormatError


class Source:
    """An open file: what is read is the file that was opened, even if another has taken its name since.

    It is closed when nobody refers to it any more. Raises OSError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self.n_bytes = os.fstat(self._file.fileno()).st_size

    def read(self, position: int, n_bytes: int) -> bytes:
        """Exactly `n_bytes` bytes from `position` on. Raises FormatError if the file ends before."""
        if position + n_bytes > self.n_bytes:
            raise _ended(position, n_bytes, self.n_bytes)
        with self._lock:
            self._file.seek(position)
            data = self._file.read(n_bytes)
        if len(data) < n_bytes:
            raise _ended(position, n_bytes, position + len(data))
        return data


def _ended(position: int, n_bytes: int, end: int) -> FormatError:
    return FormatError(f"it ends at byte {end}, and {position + n_bytes} are needed", "end of file", end)
