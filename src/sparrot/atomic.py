"""Files that are either wholly written or not there at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes the place of `path` when the block ends without an error.

    Until then the bytes are in a hidden file of the same folder, which is removed if the block fails; what
    was at `path` stays untouched. After the block the bytes and the name have reached the disk. A file that
    was there passes its permissions on, and a symbolic link goes on pointing to the file. Raises
    OSError naming `path` if the folder does not exist or cannot be written to, or the disk is full,
    ValueError if `path` is a folder or `is_device`, whose place no file may take.
    """
    target = _target(path)
    with _temporary(path, target) as temporary:
        with temporary.open("xb") as file:
            if target.exists():
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    _sync_folder(target.parent)


def check_writable(path: Path | str) -> None:
    """Nothing; raises what `atomic_write` would, unless that depends on what is written.

    It makes a file in the folder and removes it: no other question has so sure an answer.
    """
    with _temporary(path, _target(path)) as temporary:
        temporary.open("xb").close()
        temporary.unlink()


def is_device(path: Path | str) -> bool:
    """Whether `path` is a device, a pipe, or the name of an open file, such as /dev/stdout."""
    path = Path(path)
    folder = os.path.realpath(path.parent)
    is_open_file = folder == "/dev" or folder.startswith("/proc/")
    return path.exists() and not path.is_dir() and (is_open_file or not path.is_file())


def _target(path: Path | str) -> Path:
    """The file that `path` means, where it is a symbolic link."""
    target = Path(os.path.realpath(path))
    if target.is_dir() or is_device(path):
        raise ValueError(f"cannot write {path}: it is not a regular file; name another one")
    return target


@contextmanager
def _temporary(path: Path | str, target: Path) -> Iterator[Path]:
    """A name for a file beside `target`, which is removed if the block fails, in an error about `path`."""
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
    except BaseException as error:  # Ctrl-C as well must leave nothing behind
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


def _sync_folder(folder: Path) -> None:
    """Nothing; makes the folder's entries durable, where the system lets a folder be opened (not Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
