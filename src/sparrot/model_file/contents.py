"""The header of a model file as a whole: description, checksum and tensors, written and read."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sparrot.model_file.container import Header, check_ranges, header_bytes, read_header
from sparrot.model_file.description import FileDescription
from sparrot.model_file.errors import FormatError
from sparrot.model_file.fields import HEADER_OFFSET, format_crc32, parse_crc32, parse_object
from sparrot.model_file.layout import Tensor, place_tensors, stop_ends
from sparrot.model_file.schema import from_json, sentencepiece_bytes, to_text
from sparrot.model_file.source import Source

FORMAT: Final = "sparrot 1"
_FORMAT_KEY: Final = "format"
_TEXT_KEY: Final = "sparrot"
_CRC32_KEY: Final = "sparrot.crc32"


@dataclass(frozen=True)
class Contents:
    """What a file holds, checked up to the beginning of its data.

    placed:     tensors of each stop's own range.
    data_start: byte of the file at which the data section begins.
    n_stops:    stops that are there in full; fewer than described if the file is cut.
    """

    file: FileDescription
    placed: list[list[Tensor]]
    data_start: int
    n_stops: int

    def stop_range(self, stop: int) -> tuple[int, int]:
        """First byte in the file of a stop's own range, and the byte after its last."""
        begin = self.file.stops[stop - 1].end if stop > 0 else 0
        return self.data_start + begin, self.data_start + self.file.stops[stop].end


def place_contents(file: FileDescription) -> list[list[Tensor]]:
    """The tensors of each stop's own range."""
    groups = [stop.groups for stop in file.stops]
    vectors = file.model.architecture.vectors()
    return place_tensors(file.matrices, vectors, len(file.model.sentencepiece), groups)


def file_header(file: FileDescription) -> bytes:
    """Everything before the data section. Raises ValueError if it cannot be described in 16 MiB of JSON."""
    text = to_text(file)
    metadata = {
        _FORMAT_KEY: FORMAT,
        _TEXT_KEY: text,
        _CRC32_KEY: format_crc32(zlib.crc32(text.encode())),
    }
    return header_bytes(metadata, (tensor for own in place_contents(file) for tensor in own))


def check_description(file: FileDescription) -> None:
    """Nothing. Raises ValueError if a reader would refuse the description, so that it is never written."""
    try:
        from_json(parse_object(to_text(file), _TEXT_KEY), file.model.sentencepiece)
    except FormatError as error:
        raise ValueError(error.fact) from error


def read_contents(source: Source) -> Contents:
    """The contents of a file. Raises FormatError unless everything but the data is as it must be.

    The data is not looked at, save for a sentencepiece model.
    """
    header = read_header(source.read, source.n_bytes)
    described = parse_object(_checked_text(header), _TEXT_KEY)
    blob = source.read(header.data_start, sentencepiece_bytes(described))
    file = from_json(described, blob)
    placed = place_contents(file)
    check_ranges(header)
    _check_tensors(header, [tensor for own in placed for tensor in own])
    _check_ends(file, stop_ends(placed))
    return Contents(file, placed, header.data_start, _stops_held(file, header.data_start, source.n_bytes))


def _checked_text(header: Header) -> str:
    _check_version(header)
    expected = {_FORMAT_KEY, _TEXT_KEY, _CRC32_KEY}
    if set(header.metadata) != expected:
        wrong = sorted(set(header.metadata) ^ expected)[0]
        raise FormatError(f"its metadata must hold {sorted(expected)} alone", wrong, HEADER_OFFSET)
    text = header.metadata[_TEXT_KEY]
    measured = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    if parse_crc32(header.metadata[_CRC32_KEY], _CRC32_KEY) != measured:
        raise FormatError(
            f"its description has the checksum {format_crc32(measured)} and should have "
            f"{header.metadata[_CRC32_KEY]}",
            _CRC32_KEY,
            HEADER_OFFSET,
        )
    return text


def _check_version(header: Header) -> None:
    written = header.metadata.get(_FORMAT_KEY, "")
    if written == FORMAT:
        return
    if written.startswith("sparrot "):
        raise FormatError(
            f"it is written in `{written}`, and this release reads `{FORMAT}`",
            _FORMAT_KEY,
            HEADER_OFFSET,
            "Upgrade sparrot, or export the model again with this release",
        )
    raise FormatError(
        f"it is no sparrot model: its metadata must say `format` = `{FORMAT}`",
        _FORMAT_KEY,
        HEADER_OFFSET,
        "Pass a file that `sparrot export` wrote",
    )


def _check_tensors(header: Header, expected: Sequence[Tensor]) -> None:
    found = {tensor.name: tensor for tensor in header.tensors}
    for tensor in expected:
        offset = header.data_start + tensor.start
        if tensor.name not in found:
            raise FormatError(
                f"it has no tensor `{tensor.name}`, which its description needs", tensor.name, offset
            )
        other = found.pop(tensor.name)
        if other != tensor:
            raise FormatError(
                f"tensor `{tensor.name}` is {other.dtype} {list(other.shape)} at byte {other.start} of the "
                f"data, and must be {tensor.dtype} {list(tensor.shape)} at byte {tensor.start}",
                tensor.name,
                offset,
            )
    for tensor in found.values():
        raise FormatError(
            f"it has a tensor `{tensor.name}` that its description does not know",
            tensor.name,
            header.data_start + tensor.start,
        )


def _check_ends(file: FileDescription, ends: Sequence[int]) -> None:
    for i, (stop, end) in enumerate(zip(file.stops, ends, strict=True)):
        if stop.end != end:
            raise FormatError(
                f"stop {i} should end at byte {stop.end} of the data, and its tensors end at {end}",
                f"stops[{i}].end",
                HEADER_OFFSET,
            )


def _stops_held(file: FileDescription, data_start: int, file_bytes: int) -> int:
    held = sum(data_start + stop.end <= file_bytes for stop in file.stops)
    sparsest, end = file.levels[-1], data_start + file.stops[-1].end
    if held <= sparsest.stop:
        needed = data_start + file.stops[sparsest.stop].end
        raise FormatError(
            f"it is cut at byte {file_bytes}, before the end of its sparsest level `{sparsest.name}` at byte "
            f"{needed}",
            "end of file",
            file_bytes,
            "Copy the file again",
        )
    if file_bytes > end:
        raise FormatError(f"it goes on after its last tensor, which ends at byte {end}", "end of file", end)
    return held
