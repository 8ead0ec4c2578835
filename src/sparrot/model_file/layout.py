"""Which tensors a model file holds and where each begins: all of it follows from the description."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, Literal, TypeAlias

from sparrot.architecture import Matrix, Vector
from sparrot.model_file.strips import STRIP_ROWS, n_strips, round_up
from sparrot.model_file.weight_types import WEIGHT_BYTES, WeightType, columns_per_group

Layout: TypeAlias = Literal["strip16", "tile4", "tile8", "csr", "dense16"]
Dtype: TypeAlias = Literal["F32", "BF16", "I8", "U32", "U16", "U8"]
Shape: TypeAlias = tuple[int, ...]

ALIGNMENT = 64
DTYPE_BYTES: Final[dict[str, int]] = {"F32": 4, "BF16": 2, "I8": 1, "U32": 4, "U16": 2, "U8": 1}
SENTENCEPIECE: Final = "base/sentencepiece"
MAX_STOPS: Final = 32
MAX_COLUMNS: Final = 1 << 16  # what a u16 can name


@dataclass(frozen=True)
class Unit:
    """What one index of a layout names the column of.

    rows, columns:  of a matrix in strips.
    noun, row_noun: what the layout calls it, or a group of them, and a row of them.
    """

    rows: int
    columns: int
    noun: str
    row_noun: str


UNITS: Final[dict[str, Unit]] = {
    "strip16": Unit(STRIP_ROWS, 1, "group", "strip"),
    "tile4": Unit(4, 4, "tile", "row of tiles"),
    "tile8": Unit(8, 8, "tile", "row of tiles"),
    "csr": Unit(1, 1, "weight", "row"),
}
LAYOUTS: Final = (*UNITS, "dense16")


@dataclass(frozen=True)
class MatrixLayout:
    """How a matrix is stored: in segments, or as `dense16` in the base if no level prunes it.

    block: rows and columns of the blocks that levels drop; None for dense16.
    dtype: of its weights; int8 codes have a scale a row in the base.
    """

    matrix: Matrix
    layout: Layout
    block: tuple[int, int] | None
    dtype: WeightType = "F32"

    def __post_init__(self) -> None:
        if (self.layout == "dense16") != (self.block is None):
            raise ValueError(
                f"matrix `{self.matrix.name}`: dense16 has no block shape, and any other layout "
                "has a block shape"
            )
        if self.layout != "dense16" and self.matrix.columns > MAX_COLUMNS:
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

    @property
    def unit(self) -> Unit:
        """What an index names; not for dense16, which has none."""
        return UNITS[self.layout]

    @property
    def unit_rows(self) -> int:
        """Rows of units, padding included."""
        return self.strips * STRIP_ROWS // self.unit.rows

    @property
    def unit_columns(self) -> int:
        """Columns of units; the last may reach past the matrix."""
        return -(-self.matrix.columns // self.unit.columns)

    @property
    def indices_per_group(self) -> int:
        """Columns in a group of strip16; elsewhere every unit stands alone."""
        return columns_per_group(self.dtype) if self.layout == "strip16" else 1

    @property
    def max_groups(self) -> int:
        """Groups of a segment that holds every unit."""
        return self.unit_rows * -(-self.unit_columns // self.indices_per_group)

    @property
    def starts_shape(self) -> Shape:
        """Of `starts`: an entry a row of units and one for the end, and 64 bytes filled up."""
        return (round_up(self.unit_rows + 1, ALIGNMENT // DTYPE_BYTES["U32"]),)

    def columns_shape(self, groups: int) -> Shape:
        """Of `columns`: an entry an index, and 64 bytes filled up."""
        return (round_up(groups * self.indices_per_group, ALIGNMENT // DTYPE_BYTES["U16"]),)

    def values_shape(self, groups: int) -> Shape:
        """Of `values`: groups of 64 bytes, or tiles or weights up to a multiple of 64 bytes."""
        if self.layout == "strip16":
            return (groups, STRIP_ROWS, *self._group_columns)
        n_bytes = self.unit.rows * self.unit.columns * WEIGHT_BYTES[self.dtype]
        sides = (self.unit.rows, self.unit.columns) if self.layout != "csr" else ()
        return (round_up(groups, max(1, ALIGNMENT // n_bytes)), *sides)

    @property
    def dense_shape(self) -> Shape:
        """Of the one tensor of dense16."""
        per_strip = -(-self.matrix.columns // columns_per_group(self.dtype))
        return (self.strips * per_strip, STRIP_ROWS, *self._group_columns)

    @property
    def _group_columns(self) -> Shape:
        """The last size of a tensor of groups, left out where a group is one column."""
        return (columns_per_group(self.dtype),)[: self.dtype != "F32"]


@dataclass(frozen=True)
class Tensor:
    """One tensor of the data section; `start` and `end` count from the beginning of that section."""

    name: str
    dtype: Dtype
    shape: Shape
    start: int

    @property
    def end(self) -> int:
        """The byte after its last."""
        return self.start + DTYPE_BYTES[self.dtype] * prod(self.shape)


def vector_name(stop: int, vector: Vector) -> str:
    """The tensor of a vector in a stop's range: of the segment if it differs by level, else of the base."""
    layer, _, part = vector.name.rpartition(".")
    return f"{stop:02d}/{layer}/{part}" if vector.by_level else base_name(vector.name)


def base_name(parameter: str) -> str:
    """The tensor of a vector, or of a matrix that no level prunes."""
    return f"base/{parameter}"


def scales_name(matrix: str) -> str:
    """The tensor of the scales of an int8 matrix."""
    return f"base/{matrix}/scales"


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

    groups: of each segment, sparsest first, the groups that it adds to every matrix but the dense16 ones.
    """
    shared = [vector for vector in vectors if not vector.by_level]
    by_level = [vector for vector in vectors if vector.by_level]
    shapes = [list(_base(matrices, shared, sentencepiece_bytes)), *([] for _ in groups[1:])]
    for segment, added in enumerate(groups):
        shapes[segment].extend(_vectors(segment, by_level))
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


_Shaped: TypeAlias = tuple[str, Dtype, Shape]


def _base(
    matrices: Iterable[MatrixLayout], vectors: Iterable[Vector], sentencepiece_bytes: int
) -> Iterable[_Shaped]:
    if sentencepiece_bytes:
        yield SENTENCEPIECE, "U8", (round_up(sentencepiece_bytes, ALIGNMENT),)
    yield from _vectors(0, vectors)
    for stored in matrices:
        if stored.dtype == "I8":
            yield scales_name(stored.matrix.name), "F32", (stored.strips, STRIP_ROWS)
        if stored.layout == "dense16":
            yield base_name(stored.matrix.name), stored.dtype, stored.dense_shape


def _vectors(stop: int, vectors: Iterable[Vector]) -> Iterable[_Shaped]:
    for vector in vectors:
        yield vector_name(stop, vector), "F32", (n_strips(vector.size, vector.gates), STRIP_ROWS)


def _segment(segment: int, matrices: Iterable[MatrixLayout], groups: Mapping[str, int]) -> Iterable[_Shaped]:
    for stored in matrices:
        if stored.layout != "dense16":
            n_groups = groups[stored.matrix.name]
            starts, columns, values = piece_names(segment, stored.matrix.name)
            yield starts, "U32", stored.starts_shape
            yield columns, "U16", stored.columns_shape(n_groups)
            yield values, stored.dtype, stored.values_shape(n_groups)
