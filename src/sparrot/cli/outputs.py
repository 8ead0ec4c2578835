"""Files that a command writes for the user, and never over what it reads."""

from collections.abc import Iterable
from pathlib import Path


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path | str]) -> None:
    """Nothing; raises unless all outputs can be written and none of them is a file that is read.

    Devices and pipes, which are written to and not replaced, may be both.
    """
    from sparrot.atomic import check_writable, is_device

    read = {_identity(name): name for name in inputs}
    for output in outputs:
        if is_device(output):
            continue
        given = read.get(_identity(output)) if output.exists() else None
        if given is not None:
            raise ValueError(f"{output} would be written over {given}, which is read: name another output")
        check_writable(output)


def write_text(path: Path, text: str) -> None:
    """Nothing; writes a file as a whole, or after what a device, a pipe or /dev/stdout was given before."""
    from sparrot.atomic import atomic_write, is_device

    encoded = text.encode("utf-8", "surrogateescape")  # a name of a file need not be UTF-8
    if is_device(path):
        with path.open("ab") as device:
            device.write(encoded)
        return
    with atomic_write(path) as file:
        file.write(encoded)


def _identity(path: Path | str) -> tuple[int, int] | None:
    """What all names of a file have in common; None if there is no such file."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
