"""The bytes of one stop's own range, read into memory that the caller may choose, and their tensors."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sparrot.model_file.contents import Contents
from sparrot.model_file.description import FileDescription
from sparrot.model_file.errors import FormatError
from sparrot.model_file.fields import format_crc32
from sparrot.model_file.layout import (
    ALIGNMENT,
    MatrixLayout,
    Tensor,
    base_name,
    piece_names,
    scales_name,
    vector_name,
)
from sparrot.model_file.source import Source
from sparrot.model_file.strips import Float32

Allocate: TypeAlias = Callable[[int], memoryview]  # number of bytes → memory for at least as many

_NUMPY: Final[dict[str, type[np.generic]]] = {
    "F32": np.float32,
    "BF16": np.uint16,  # its bits: NumPy has no such type
    "I8": np.int8,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
}


def aligned_memory(n_bytes: int) -> memoryview:
    """Fresh memory that begins at a multiple of 64 bytes."""
    memory = np.empty(n_bytes + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + n_bytes].data


@dataclass(frozen=True, eq=False)
class PieceData:
    """What a stop's own range holds of one matrix, as docs/format.md lays it out; views of its bytes.

    stored:          the matrix, and how it is stored.
    groups:          without those of padding (tiles, weights: whatever its layout counts); 0 for dense16.
    starts, columns: None if its layout has no indices (dense16).
    values:          float32, the bits of bfloat16 as uint16, or int8 codes.
    """

    stored: MatrixLayout
    groups: int
    starts: npt.NDArray[np.uint32] | None
    columns: npt.NDArray[np.uint16] | None
    values: npt.NDArray[Any]

    @property
    def indices(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """`starts` and `columns` of a layout that has them."""
        if self.starts is None or self.columns is None:
            raise ValueError(f"`{self.stored.matrix.name}` is {self.stored.layout}, which has no indices")
        return self.starts, self.columns


@dataclass(frozen=True, eq=False)
class StopData:
    """A stop's own range: its bytes, and its tensors as views that cannot be written to.

    Checksums have been compared; indices, padding and weights have not been looked at.

    data:  the bytes. If they begin at a multiple of 64 bytes, so does every tensor.
    begin: their place in the data section, which itself begins at byte `data_start` of the file.
    """

    stop: int
    data: memoryview
    file: FileDescription
    tensors: Mapping[str, Tensor]
    begin: int
    data_start: int

    @cached_property
    def pieces(self) -> dict[str, PieceData]:
        """By matrix, in the order of the architecture; those without segments are in stop 0 alone."""
        found = {stored.matrix.name: self._piece(stored) for stored in self.file.matrices}
        return {name: piece for name, piece in found.items() if piece is not None}

    @cached_property
    def scales(self) -> dict[str, Float32]:
        """Of every int8 matrix, float32 (strips, 16), in stop 0; none in the others."""
        coded = [stored.matrix.name for stored in self.file.matrices if stored.dtype == "I8"]
        return {name: self.array(scales_name(name)) for name in coded if self.stop == 0}

    @cached_property
    def vectors(self) -> dict[str, Float32]:
        """Vectors, float32 (strips, 16): in stop 0 all, in the others those that differ by level."""
        own = [v for v in self.file.model.architecture.vectors() if self.stop == 0 or v.by_level]
        return {vector.name: self.array(vector_name(self.stop, vector)) for vector in own}

    def array(self, name: str) -> npt.NDArray[Any]:
        """A tensor."""
        tensor = self.tensors[name]
        n_values = int(np.prod(tensor.shape))
        flat = np.frombuffer(self.data, _NUMPY[tensor.dtype], n_values, tensor.start - self.begin)
        return flat.reshape(tensor.shape)

    def refuse(self, name: str, fact: str) -> FormatError:
        """The error that says `fact` of a tensor."""
        return FormatError(f"tensor `{name}` {fact}", name, self.data_start + self.tensors[name].start)

    def _piece(self, stored: MatrixLayout) -> PieceData | None:
        name = stored.matrix.name
        if stored.layout == "dense16":
            return PieceData(stored, 0, None, None, self.array(base_name(name))) if self.stop == 0 else None
        starts, columns, values = map(self.array, piece_names(self.stop, name))
        return PieceData(stored, self.file.stops[self.stop].groups[name], starts, columns, values)


def read_stop(
    source: Source, contents: Contents, stop: int, *, verify: bool, allocate: Allocate | None = aligned_memory
) -> StopData:
    """A stop's own range, in new memory, or mapped if `allocate` is None.

    Raises FormatError if its checksum is wrong; `verify=False` skips that.
    """
    begin, end = contents.stop_range(stop)
    if allocate is None:
        data = source.mapped(begin, end - begin)
    else:
        data = memoryview(allocate(end - begin)).cast("B")[: end - begin]
        source.read_into(begin, data)
    expected = contents.file.stops[stop].crc32
    if verify and (found := zlib.crc32(data)) != expected:
        raise FormatError(
            f"bytes {begin} to {end} have the checksum {format_crc32(found)} and should have "
            f"{format_crc32(expected)}",
            f"stops[{stop}].crc32",
            begin,
        )
    tensors = {tensor.name: tensor for tensor in contents.placed[stop]}
    return StopData(
        stop, data.toreadonly(), contents.file, tensors, begin - contents.data_start, contents.data_start
    )
