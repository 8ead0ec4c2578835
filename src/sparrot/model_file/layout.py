"""Which tensors a model file holds and where each begins: all of it follows from the description."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, Literal, TypeAlias

from sparrot.architecture import Matrix, Vector
from sparrot.model_file.strips import (
    COLUMNS_MULTIPLE,
    MAX_COLUMNS,
    STARTS_MULTIPLE,
    STRIP_ROWS,
    n_strips,
    round_up,
)

Layout: TypeAlias = Literal["strip16", "dense16"]
Dtype: TypeAlias = Literal["F32", "U32", "U16", "U8"]

ALIGNMENT = 64
DTYPE_BYTES: Final[dict[str, int]] = {"F32": 4, "U32": 4, "U16": 2, "U8": 1}
SENTENCEPIECE: Final = "base/sentencepiece"
MAX_STOPS: Final = 32


@dataclass(frozen=True)
class MatrixLayout:
    """How a matrix is stored: `strip16` in segments, or `dense16` in the base if no level prunes it.

    block: rows and columns of the blocks that levels drop; None for dense16.
    """

    matrix: Matrix
    layout: Layout
    block: tuple[int, int] | None

    def __post_init__(self) -> None:
        if (self.layout == "strip16") != (self.block is not None):
            raise ValueError(f"matrix `{self.matrix.name}`: strip16 has a block shape, dense16 has none")
        if self.layout == "strip16" and self.matrix.columns > MAX_COLUMNS:
            raise ValueError(
                f"matrix `{self.matrix.name}` has {self.matrix.columns} columns; one that a level prunes can "
                f"have {MAX_COLUMNS}, as its column indices take 16 bits. Leave it out of the levels"
            )

    @property
    def strips(self) -> int:
        """Strips of 16 rows, padding included."""
        return n_strips(self.matrix.rows, self.matrix.gates)

    @property
    def n_blocks(self) -> int:
        """Blocks of the whole matrix, those at the edges included; 0 for dense16."""
        if self.block is None:
            return 0
        rows, columns = self.block
        per_gate = -(-self.matrix.rows // self.matrix.gates // rows)
        return self.matrix.gates * per_gate * -(-self.matrix.columns // columns)


@dataclass(frozen=True)
class Tensor:
    """One tensor of the data section; `start` and `end` count from the beginning of that section."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    start: int

    @property
    def end(self) -> int:
        """The byte after its last."""
        return self.start + DTYPE_BYTES[self.dtype] * prod(self.shape)


def base_name(parameter: str) -> str:
    """The tensor of a vector, or of a matrix that no level prunes."""
    return f"base/{parameter}"


def piece_names(segment: int, matrix: str) -> tuple[str, str, str]:
    """The tensors of what a segment adds to a matrix: starts, columns, values."""
    prefix = f"{segment:02d}/{matrix}"
    return f"{prefix}/starts", f"{prefix}/columns", f"{prefix}/values"


def place_tensors(
    matrices: Sequence[MatrixLayout],
    vectors: Sequence[Vector],
    sentencepiece_bytes: int,
    groups: Sequence[Mapping[str, int]],
) -> list[list[Tensor]]:
    """The tensors of each stop's own range, in the order of the file; the first stop's begin with the base.

    groups: of each segment, sparsest first, the groups that it adds to every strip16 matrix.
    """
    shapes = [list(_base(matrices, vectors, sentencepiece_bytes)), *([] for _ in groups[1:])]
    for segment, added in enumerate(groups):
        shapes[segment].extend(_segment(segment, matrices, added))
    placed: list[list[Tensor]] = []
    position = 0
    for own in shapes:
        placed.append([])
        for name, dtype, shape in own:
            placed[-1].append(Tensor(name, dtype, shape, position))
            position = placed[-1][-1].end
    return placed


def stop_ends(placed: Sequence[Sequence[Tensor]]) -> list[int]:
    """The byte of the data section at which each stop ends."""
    ends: list[int] = []
    for own in placed:
        ends.append(own[-1].end if own else (ends[-1] if ends else 0))
    return ends


_Shaped: TypeAlias = tuple[str, Dtype, tuple[int, ...]]


def _base(
    matrices: Iterable[MatrixLayout], vectors: Iterable[Vector], sentencepiece_bytes: int
) -> Iterable[_Shaped]:
    if sentencepiece_bytes:
        yield SENTENCEPIECE, "U8", (round_up(sentencepiece_bytes, ALIGNMENT),)
    for vector in vectors:
        yield base_name(vector.name), "F32", (n_strips(vector.size, vector.gates), STRIP_ROWS)
    for stored in matrices:
        if stored.layout == "dense16":
            yield base_name(stored.matrix.name), "F32", (stored.strips * stored.matrix.columns, STRIP_ROWS)


def _segment(segment: int, matrices: Iterable[MatrixLayout], groups: Mapping[str, int]) -> Iterable[_Shaped]:
    for stored in matrices:
        if stored.layout == "strip16":
            n_groups = groups[stored.matrix.name]
            starts, columns, values = piece_names(segment, stored.matrix.name)
            yield starts, "U32", (round_up(stored.strips + 1, STARTS_MULTIPLE),)
            yield columns, "U16", (round_up(n_groups, COLUMNS_MULTIPLE),)
            yield values, "F32", (n_groups, STRIP_ROWS)
