"""Files that are either wholly written or not there at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes the place of `path` when the block ends without an error.

    Until then the bytes are in a hidden file of the same folder, which is removed if the block fails; what
    was at `path` stays untouched. After the block the bytes and the name have reached the disk. Raises
    OSError naming `path` if the folder does not exist or cannot be written to, or the disk is full,
    ValueError if `path` is a device, a pipe or a folder, whose place no file may take.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise ValueError(f"cannot write {target}: it is not a regular file; name another one")
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:  # Ctrl-C as well must leave nothing behind
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(target)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Nothing; makes the folder's entries durable, where the system lets a folder be opened (not Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
