"""From dense parameters and masks to the arrays of the data section."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparrot.architecture import Vector
from sparrot.model_file.layout import ALIGNMENT, MatrixLayout
from sparrot.model_file.masks import Masks
from sparrot.model_file.pieces import Piece, encode, gather, pack_dense
from sparrot.model_file.strips import Float32, pack_vector, round_up
from sparrot.model_file.weight_types import row_scales

Parameters: TypeAlias = Mapping[str, Float32]


@dataclass(frozen=True, eq=False)
class PackedStop:
    """A stop's own range.

    arrays: in the order of the file.
    groups: that its segment adds to each matrix that has segments.
    """

    arrays: tuple[npt.NDArray[Any], ...]
    groups: Mapping[str, int]

    @classmethod
    def of(cls, name: str, piece: Piece) -> "PackedStop":
        """A range that holds one piece of one matrix."""
        return cls((piece.starts, piece.columns, piece.values), {name: piece.groups})

    def __add__(self, other: "PackedStop") -> "PackedStop":
        """This range, and the other after it."""
        return PackedStop(self.arrays + other.arrays, {**self.groups, **other.groups})

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


@dataclass(frozen=True, eq=False)
class Weights:
    """What is to be packed: dense parameters by name, the masks of their levels, and how each is stored.

    by_stop: of every stop, the vectors that differ by level, in the architecture's order; none if none do.
    """

    stored: Sequence[MatrixLayout]
    parameters: Parameters
    masks: Masks
    by_stop: Sequence[Parameters] = ()

    @cached_property
    def scales(self) -> dict[str, Float32]:
        """Of each int8 matrix, float32 (strips, 16): those of its densest level, which all levels share."""
        scales = {}
        for matrix in (entry.matrix for entry in self.stored if entry.dtype == "I8"):
            scales[matrix.name] = pack_vector(row_scales(self._densest(matrix.name)), matrix.gates)
        return scales

    def _densest(self, matrix: str) -> Float32:
        weights, masks = self.parameters[matrix], self.masks.get(matrix)
        return weights if masks is None else np.where(masks.kept_at_all(), weights, np.float32(0))


def pack_base(weights: Weights, vectors: Sequence[Vector], sentencepiece: bytes) -> PackedStop:
    """What every level needs: the sentencepiece model, vectors, scales and what no level prunes."""
    arrays: list[npt.NDArray[Any]] = []
    if sentencepiece:
        padded = sentencepiece.ljust(round_up(len(sentencepiece), ALIGNMENT), b"\0")
        arrays.append(np.frombuffer(padded, np.uint8))
    shared = [vector for vector in vectors if not vector.by_level]
    arrays.extend(pack_vector(weights.parameters[vector.name], vector.gates) for vector in shared)
    for entry in weights.stored:
        scales = weights.scales.get(entry.matrix.name)
        if scales is not None:
            arrays.append(scales)
        if entry.layout == "dense16":
            with naming(entry.matrix.name):
                arrays.append(pack_dense(weights.parameters[entry.matrix.name], entry, scales))
    return PackedStop(tuple(arrays), {})


def pack_segment(segment: int, weights: Weights) -> PackedStop:
    """The vectors of a segment, and what it adds to the matrices that have segments."""
    own = weights.by_stop[segment] if weights.by_stop else {}
    packed = PackedStop(tuple(pack_vector(vector, 1) for vector in own.values()), {})
    for entry in weights.stored:
        if entry.layout != "dense16":
            name, new = entry.matrix.name, weights.masks[entry.matrix.name].added(segment)
            units = gather(weights.parameters[name], new, entry.matrix.gates, entry.unit)
            with naming(name):
                packed += PackedStop.of(name, encode(units, entry, weights.scales.get(name)))
    return packed


def pack_stops(weights: Weights, base: PackedStop, n_stops: int) -> list[PackedStop]:
    """Every stop's own range, sparsest first; the first one begins with the base."""
    segments = [pack_segment(i, weights) for i in range(n_stops)]
    return [base + segments[0], *segments[1:]]


@contextmanager
def naming(matrix: str) -> Iterator[None]:
    """Says of which matrix an error is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"`{matrix}` is refused: {error}") from error
