"""The data of one stop: read, verified, and unpacked into dense parameters."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sparrot._core import unpack_strips
from sparrot.architecture import Vector
from sparrot.model_file.contents import Contents
from sparrot.model_file.description import FileDescription
from sparrot.model_file.errors import FormatError
from sparrot.model_file.fields import format_crc32
from sparrot.model_file.layout import SENTENCEPIECE, MatrixLayout, Tensor, base_name, piece_names
from sparrot.model_file.source import Source
from sparrot.model_file.strips import Float32, pack_vector, to_strips, unpack_dense, unpack_vector

_NUMPY: Final[dict[str, type[np.generic]]] = {
    "F32": np.float32,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
}


@dataclass(frozen=True, eq=False)
class StopData:
    """The bytes of a stop's own range, and the tensors they hold.

    data_start: byte of the file at which the data section begins.
    """

    data: bytes
    tensors: Mapping[str, Tensor]
    begin: int
    data_start: int

    def array(self, name: str) -> npt.NDArray[Any]:
        """A tensor, as a view that cannot be written to."""
        tensor = self.tensors[name]
        n_values = int(np.prod(tensor.shape))
        flat = np.frombuffer(self.data, _NUMPY[tensor.dtype], n_values, tensor.start - self.begin)
        return flat.reshape(tensor.shape)

    def refuse(self, name: str, fact: str) -> FormatError:
        """The error that says `fact` of a tensor."""
        return FormatError(f"tensor `{name}` {fact}", name, self.data_start + self.tensors[name].start)


def read_stop(source: Source, contents: Contents, stop: int, *, verify: bool) -> StopData:
    """A stop's own range. Raises FormatError if its checksum is wrong; `verify=False` skips that."""
    begin, end = contents.stop_range(stop)
    data = source.read(begin, end - begin)
    expected = contents.file.stops[stop].crc32
    if verify and zlib.crc32(data) != expected:
        raise FormatError(
            f"bytes {begin} to {end} have the checksum {format_crc32(zlib.crc32(data))} and should have "
            f"{format_crc32(expected)}",
            f"stops[{stop}].crc32",
            begin,
        )
    tensors = {tensor.name: tensor for tensor in contents.placed[stop]}
    return StopData(data, tensors, begin - contents.data_start, contents.data_start)


def unpack_base(first: StopData, file: FileDescription, *, verify: bool) -> dict[str, Float32]:
    """Every parameter as it is before any segment is added: what segments hold is zero.

    first: the data of stop 0. Raises FormatError if a weight is not finite (skipped unless `verify`), or if
    padding is not zero.
    """
    parameters = {entry.matrix.name: _base_matrix(first, entry, verify=verify) for entry in file.matrices}
    for vector in file.model.architecture.vectors():
        parameters[vector.name] = _base_vector(first, vector, verify=verify)
    n_bytes = len(file.model.sentencepiece)
    if n_bytes and first.array(SENTENCEPIECE)[n_bytes:].any():
        raise first.refuse(SENTENCEPIECE, "is not zero past its end")
    return parameters


def add_segment(
    stop: StopData, segment: int, file: FileDescription, parameters: Mapping[str, Float32], *, verify: bool
) -> None:
    """Nothing; adds the weights of a segment to the matrices, in place.

    Raises FormatError if an index is out of range or padding is not zero, or if a weight is not finite
    (skipped unless `verify`).
    """
    for entry in file.matrices:
        if entry.layout != "strip16":
            continue
        names = piece_names(segment, entry.matrix.name)
        starts, columns, values = (stop.array(name) for name in names)
        try:
            unpack_strips(
                starts,
                columns,
                values,
                parameters[entry.matrix.name],
                entry.matrix.gates,
                check_finite=verify,
            )
        except ValueError as error:
            name = next((name for name in names if f"`{name.rpartition('/')[2]}`" in str(error)), names[2])
            raise stop.refuse(name, f"is refused: {error}") from error


def _base_matrix(first: StopData, entry: MatrixLayout, *, verify: bool) -> Float32:
    matrix = entry.matrix
    if entry.layout == "strip16":
        return np.zeros((matrix.rows, matrix.columns), np.float32)
    name = base_name(matrix.name)
    stored = first.array(name)
    _check_finite(first, name, stored, verify=verify)
    found = unpack_dense(stored, matrix.rows, matrix.gates)
    padded = to_strips(found, matrix.gates).swapaxes(1, 2).reshape(stored.shape)
    _check_padding(first, name, stored, padded)
    return found


def _base_vector(first: StopData, vector: Vector, *, verify: bool) -> Float32:
    name = base_name(vector.name)
    stored = first.array(name)
    _check_finite(first, name, stored, verify=verify)
    found = unpack_vector(stored, vector.size, vector.gates)
    _check_padding(first, name, stored, pack_vector(found, vector.gates))
    return found


def _check_finite(first: StopData, name: str, stored: Float32, *, verify: bool) -> None:
    if verify and not np.isfinite(stored).all():
        raise first.refuse(name, "holds a weight that is not finite")


def _check_padding(first: StopData, name: str, stored: Float32, padded: Float32) -> None:
    """Nothing. Raises FormatError unless `stored` is bit for bit what the weights give with zero padding."""
    if not np.array_equal(stored.view(np.uint32), padded.view(np.uint32)):
        raise first.refuse(name, "has a weight in a row of padding")
