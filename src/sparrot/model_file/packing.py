"""From dense parameters and masks to the arrays of the data section."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparrot.architecture import Vector
from sparrot.model_file.layout import ALIGNMENT, MatrixLayout
from sparrot.model_file.masks import Masks, added
from sparrot.model_file.strips import Float32, pack, pack_dense, pack_vector, round_up

Parameters: TypeAlias = Mapping[str, Float32]


@dataclass(frozen=True, eq=False)
class PackedStop:
    """A stop's own range.

    arrays: in the order of the file.
    groups: that its segment adds to each strip16 matrix.
    """

    arrays: tuple[npt.NDArray[Any], ...]
    groups: Mapping[str, int]

    @property
    def n_bytes(self) -> int:
        """Length of the range."""
        return sum(array.nbytes for array in self.arrays)

    @property
    def crc32(self) -> int:
        """Checksum of the range."""
        crc32 = 0
        for array in self.arrays:
            crc32 = zlib.crc32(array.data, crc32)
        return crc32


def pack_base(
    stored: Sequence[MatrixLayout], vectors: Sequence[Vector], parameters: Parameters, sentencepiece: bytes
) -> PackedStop:
    """What every level needs: the sentencepiece model, the vectors and the matrices that no level prunes."""
    arrays: list[npt.NDArray[Any]] = []
    if sentencepiece:
        padded = sentencepiece.ljust(round_up(len(sentencepiece), ALIGNMENT), b"\0")
        arrays.append(np.frombuffer(padded, np.uint8))
    arrays.extend(pack_vector(parameters[vector.name], vector.gates) for vector in vectors)
    for entry in stored:
        if entry.layout == "dense16":
            arrays.append(pack_dense(parameters[entry.matrix.name], entry.matrix.gates))
    return PackedStop(tuple(arrays), {})


def pack_segment(
    segment: int, stored: Sequence[MatrixLayout], parameters: Parameters, masks: Masks
) -> PackedStop:
    """What a segment adds to the strip16 matrices."""
    arrays: list[npt.NDArray[Any]] = []
    groups = {}
    for entry in stored:
        if entry.layout == "strip16":
            name = entry.matrix.name
            piece = pack(parameters[name], added(masks[name], segment), entry.matrix.gates)
            arrays += [piece.starts, piece.columns, piece.values]
            groups[name] = piece.groups
    return PackedStop(tuple(arrays), groups)


def pack_stops(
    stored: Sequence[MatrixLayout], base: PackedStop, parameters: Parameters, masks: Masks, n_stops: int
) -> list[PackedStop]:
    """Every stop's own range, sparsest first; the first one begins with the base."""
    segments = [pack_segment(i, stored, parameters, masks) for i in range(n_stops)]
    first = PackedStop(base.arrays + segments[0].arrays, segments[0].groups)
    return [first, *segments[1:]]
