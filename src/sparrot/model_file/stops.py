"""The data of stops unpacked into dense parameters, with every check of indices, padding and weights."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sparrot._core import unpack_strips
from sparrot.architecture import Vector
from sparrot.model_file.description import FileDescription
from sparrot.model_file.layout import (
    SENTENCEPIECE,
    MatrixLayout,
    base_name,
    piece_names,
    scales_name,
    vector_name,
)
from sparrot.model_file.pieces import Accumulator, decode, unpack_dense
from sparrot.model_file.stop_data import PieceData, StopData
from sparrot.model_file.strips import Float32, pack_vector, unpack_vector
from sparrot.model_file.weight_types import MAX_SCALE, all_finite, from_bfloat16


def unpack_stops(stops: Iterable[StopData], file: FileDescription, *, verify: bool) -> dict[str, Float32]:
    """Every parameter at the last of these stops, of which the first is stop 0 and none is left out.

    Raises FormatError if an index is out of range or padding is not zero, or if a weight is not finite
    (skipped unless `verify`).
    """
    vectors: dict[str, Float32] = {}
    scales: dict[str, Float32] = {}
    sums: dict[str, _Sum] = {}
    for stop in stops:
        if stop.stop == 0:
            check_base(stop, verify=verify)
            scales = _scales(stop, file.matrices, verify=verify)
            sums = {stored.matrix.name: _sum_of(stored) for stored in file.matrices}
        vectors |= checked_vectors(stop, verify=verify)
        for piece in stop.pieces.values():
            _add(sums[piece.stored.matrix.name], stop, piece, verify=verify)
    matrices = {name: _as_float(sums.pop(name), scales.get(name)) for name in list(sums)}
    return {**matrices, **vectors}


def check_base(first: StopData, *, verify: bool) -> None:
    """Nothing. Raises FormatError unless what the first stop holds for all levels is as it must be, save for
    the matrices: sentencepiece model, vectors and scales, their padding, and (`verify`) finite values.
    """
    _check_sentencepiece(first, len(first.file.model.sentencepiece))
    checked_vectors(first, verify=verify)
    _scales(first, first.file.matrices, verify=verify)


def checked_vectors(stop: StopData, *, verify: bool) -> dict[str, Float32]:
    """The vectors (size,) of a stop's own range. Raises FormatError if padding is not zero, or (`verify`) a
    value is not finite.
    """
    vectors = [v for v in stop.file.model.architecture.vectors() if v.name in stop.vectors]
    return {v.name: _lanes(stop, vector_name(stop.stop, v), v, verify=verify) for v in vectors}


class _Sum(Protocol):
    """A matrix, as one stop's piece after another is added."""

    def add(self, piece: PieceData, *, verify: bool) -> None:
        """Nothing; raises ValueError, with a sentence that may name an array, if the piece is refused."""

    def dense(self) -> npt.NDArray[Any]:
        """The matrix (rows, columns), in float32, bits of bfloat16 or codes."""


class _WholeSum:
    """Of dense16: a matrix with a single piece."""

    def __init__(self) -> None:
        self._dense: npt.NDArray[Any] = np.zeros((0, 0))

    def add(self, piece: PieceData, *, verify: bool) -> None:
        self._dense = unpack_dense(piece.values, piece.stored)
        _check_finite(piece, verify=verify)

    def dense(self) -> npt.NDArray[Any]:
        return self._dense


class _StripSum:
    """Of strip16 in float32, unpacked in C++."""

    def __init__(self, stored: MatrixLayout) -> None:
        self._dense = np.zeros((stored.matrix.rows, stored.matrix.columns), np.float32)

    def add(self, piece: PieceData, *, verify: bool) -> None:
        starts, columns = piece.indices
        gates = piece.stored.matrix.gates
        unpack_strips(starts, columns, piece.values, self._dense, gates, check_finite=verify)

    def dense(self) -> npt.NDArray[Any]:
        return self._dense


class _UnitSum:
    """Of any other type or layout with segments."""

    def __init__(self, stored: MatrixLayout) -> None:
        self._units = Accumulator(stored)

    def add(self, piece: PieceData, *, verify: bool) -> None:
        self._units.add(decode((*piece.indices, piece.values), piece.groups, piece.stored))
        _check_finite(piece, verify=verify)

    def dense(self) -> npt.NDArray[Any]:
        return self._units.dense()


def _sum_of(stored: MatrixLayout) -> _Sum:
    if stored.layout == "dense16":
        return _WholeSum()
    if stored.layout == "strip16" and stored.dtype == "F32":
        return _StripSum(stored)
    return _UnitSum(stored)


def _add(to: _Sum, stop: StopData, piece: PieceData, *, verify: bool) -> None:
    matrix = piece.stored.matrix.name
    names = (base_name(matrix),) if piece.stored.layout == "dense16" else piece_names(stop.stop, matrix)
    try:
        to.add(piece, verify=verify)
    except ValueError as error:
        named = (name for name in names if f"`{name.rpartition('/')[2]}`" in str(error))
        raise stop.refuse(next(named, names[-1]), f"is refused: {error}") from error


def _as_float(matrix: _Sum, scales: Float32 | None) -> Float32:
    found = matrix.dense()
    if scales is not None:
        return found.astype(np.float32) * scales[:, None]
    return from_bfloat16(found) if found.dtype == np.uint16 else found


def _scales(stop: StopData, matrices: Iterable[MatrixLayout], *, verify: bool) -> dict[str, Float32]:
    found = {}
    for stored in matrices:
        if stored.dtype == "I8":
            matrix, name = stored.matrix, scales_name(stored.matrix.name)
            of_rows = Vector(matrix.name, matrix.rows, matrix.gates)
            found[matrix.name] = _lanes(stop, name, of_rows, verify=verify)
            if np.any((found[matrix.name] < 0) | (found[matrix.name] > MAX_SCALE)):
                raise stop.refuse(name, f"holds a scale that is not between 0 and {MAX_SCALE}")
    return found


def _lanes(stop: StopData, name: str, vector: Vector, *, verify: bool) -> Float32:
    """The values of a tensor [strips, 16]."""
    stored = stop.array(name)
    if verify and not all_finite(stored):
        raise stop.refuse(name, "holds a value that is not finite")
    found = unpack_vector(stored, vector.size, vector.gates)
    if not np.array_equal(stored.view(np.uint32), pack_vector(found, vector.gates).view(np.uint32)):
        raise stop.refuse(name, "has a value in a row of padding")
    return found


def _check_finite(piece: PieceData, *, verify: bool) -> None:
    if verify and not all_finite(piece.values):
        raise ValueError("a weight is not finite")


def _check_sentencepiece(stop: StopData, n_bytes: int) -> None:
    if n_bytes and stop.array(SENTENCEPIECE)[n_bytes:].any():
        raise stop.refuse(SENTENCEPIECE, "is not zero past its end")
