"""How the weights of a model are to be stored: what the writer is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from sparrot.architecture import Matrix
from sparrot.model_file.layout import Layout, MatrixLayout
from sparrot.model_file.masks import Block, Masks, Segments
from sparrot.model_file.weight_types import WEIGHT_BYTES, WeightType

# The sparsity up to which a dense matrix is as fast at batch 1: about the share of column indices in what is
# read. Medians over the shapes of benchmarks/kernels.py.
BREAK_EVEN: Final[Mapping[WeightType, float]] = {"F32": 0.03, "BF16": 0.11, "I8": 0.2}


def layout_of_block(block: Block) -> Layout:
    """The layout that is chosen for a shape of blocks if nobody names another; each can hold all of them.

    Blocks that are a tile have one index a tile, and those under four rows would leave most of a strip's
    lanes empty.
    """
    if block == (4, 4):
        return "tile4"
    if block == (8, 8):
        return "tile8"
    return "csr" if block[0] < 4 else "strip16"


@dataclass(frozen=True)
class Storage:
    """How the weights of a model are to be stored.

    blocks:    rows and columns of the blocks of every matrix that a level prunes.
    dtypes:    the type of a matrix by its name; F32 if it is not there.
    n_stops:   stops that there are to be, if the matrices are large enough; None is one a level.
    order:     of the blocks of a matrix, by its name, for the stops that are no level: int64 (n_block_rows,
               n_block_columns), 0 for the one that is kept the longest. By Σ|w| if it is not there.
    layout_of: the layout for a shape of blocks.
    """

    blocks: Mapping[str, Block] = field(default_factory=dict)
    dtypes: Mapping[str, WeightType] = field(default_factory=dict)
    n_stops: int | None = None
    order: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    layout_of: Callable[[Block], Layout] = layout_of_block

    def of(self, matrix: Matrix, masks: Masks) -> MatrixLayout:
        """How one matrix is stored."""
        dtype = self.dtypes.get(matrix.name, "F32")
        if matrix.name not in masks:
            return MatrixLayout(matrix, "dense16", None, dtype)
        block = self.blocks[matrix.name]
        return MatrixLayout(matrix, self.layout_of(block), block, dtype)

    def is_dense(self, name: str, segments: Segments) -> bool:
        """Whether a matrix with these segments is better stored whole, with zeros where weights are dropped.

        It is if every level keeps the same weights, and nearly all of them.
        """
        n_kept, size = segments.n_kept(0), segments.of_weight.size
        same = n_kept == segments.kept_at_all().sum()
        return bool(same and size - n_kept <= BREAK_EVEN[self.dtypes.get(name, "F32")] * size)


def dtypes_of(matrices: Sequence[Matrix], dtype: WeightType) -> dict[str, WeightType]:
    """A type for every matrix that levels may prune; the others, of convolutions, stay float32."""
    return {matrix.name: dtype for matrix in matrices if matrix.prunable}


def check_dtypes(dtypes: Mapping[str, WeightType], matrices: Sequence[Matrix]) -> None:
    """Nothing. Raises ValueError if a type is unknown, or of no matrix."""
    for name, dtype in dtypes.items():
        if name not in {matrix.name for matrix in matrices}:
            raise ValueError(f"there is a type for `{name}`, which is none of its matrices")
        if dtype not in WEIGHT_BYTES:
            raise ValueError(f"`{name}` cannot be {dtype}, but {', '.join(WEIGHT_BYTES)}")
