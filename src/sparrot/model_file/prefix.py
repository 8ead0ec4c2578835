"""Rewriting a file's header over the unchanged beginning of its data."""

from dataclasses import replace
from pathlib import Path

from sparrot.atomic import atomic_write
from sparrot.model_file.contents import Contents, check_description, file_header
from sparrot.model_file.description import FileDescription, LevelDescription
from sparrot.model_file.source import Source
from sparrot.model_file.stop_data import read_stop


def without_denser(file: FileDescription, level: LevelDescription) -> FileDescription:
    """The description of a file that ends with `level`."""
    levels = tuple(other for other in file.levels if other.stop <= level.stop)
    return replace(file, stops=file.stops[: level.stop + 1], levels=levels)


def write_prefix(path: Path | str, source: Source, contents: Contents, file: FileDescription) -> None:
    """Nothing; writes a complete file to `path`: the header of `file`, and the data up to its last stop.

    The data is verified on the way. Raises FormatError if a checksum is wrong, ValueError if a reader would
    refuse the description; what was at `path` then stays as it was.
    """
    check_description(file)
    header = file_header(file)
    with atomic_write(path) as out:
        out.write(header)
        for stop in range(len(file.stops)):
            out.write(read_stop(source, contents, stop, verify=True).data)
