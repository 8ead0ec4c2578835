"""How a weight matrix is cut into blocks."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class BlockShape:
    """Rows (outputs) and columns (inputs) of one block, in weights; 1 x 1 is unstructured."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"a block needs at least one row and one column; got {self}")

    @classmethod
    def parse(cls, text: str) -> "BlockShape":
        """The shape written as `16x1`."""
        rows, _, columns = text.partition("x")
        if not (rows.isdecimal() and columns.isdecimal()):
            raise ValueError(f"a block shape is written rows x columns, as in `16x1`; got `{text}`")
        return cls(int(rows), int(columns))

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


@dataclass(frozen=True)
class BlockGrid:
    """A (rows, columns) matrix cut into blocks that never straddle two gates.

    Each of the `gates` equal row groups is cut by itself from its first row and column, so its last
    blocks may be smaller: an edge block holds fewer weights and counts as one block.
    """

    rows: int
    columns: int
    block: BlockShape
    gates: int = 1

    def __post_init__(self) -> None:
        if self.gates < 1 or self.rows < 1 or self.columns < 1 or self.rows % self.gates:
            raise ValueError(
                f"cannot cut a {self.rows} x {self.columns} matrix of {self.gates} gates into blocks: "
                "it needs weights and as many rows in every gate"
            )

    @property
    def rows_per_gate(self) -> int:
        """Matrix rows in a gate."""
        return self.rows // self.gates

    @property
    def shape(self) -> tuple[int, int]:
        """(n_block_rows, n_block_columns), block rows gate after gate."""
        per_gate = -(-self.rows_per_gate // self.block.rows)
        return self.gates * per_gate, -(-self.columns // self.block.columns)

    @property
    def n_blocks(self) -> int:
        """Blocks, edge blocks included."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def block_of_row(self) -> Tensor:
        """int64 (rows,): the block row of every matrix row."""
        per_gate = self.shape[0] // self.gates
        row = torch.arange(self.rows)
        return row // self.rows_per_gate * per_gate + row % self.rows_per_gate // self.block.rows

    @cached_property
    def block_of_column(self) -> Tensor:
        """int64 (columns,): the block column of every matrix column."""
        return torch.arange(self.columns) // self.block.columns

    def sizes(self) -> Tensor:
        """int64 (n_block_rows, n_block_columns): weights in each block."""
        rows = torch.bincount(self.block_of_row, minlength=self.shape[0])
        columns = torch.bincount(self.block_of_column, minlength=self.shape[1])
        return rows[:, None] * columns[None, :]

    def expand(self, blocks: Tensor) -> Tensor:
        """The value of its block at every weight.

        blocks:  (n_block_rows, n_block_columns).
        Returns: (rows, columns), on the device of `blocks`.
        """
        self._check(blocks, self.shape, "block values")
        rows, columns = self.block_of_row.to(blocks.device), self.block_of_column.to(blocks.device)
        return blocks.index_select(0, rows).index_select(1, columns)

    def scaled(self, weights: Tensor, blocks: Tensor) -> Tensor:
        """Every weight times the value of its block: what `expand` gives, without a matrix of the values.

        weights: (rows, columns); blocks: (n_block_rows, n_block_columns). Returns: (rows, columns).
        """
        self._check(blocks, self.shape, "block values")
        scaled = self.tiles(weights) * blocks[:, None, :, None]
        by_gate = scaled.view(self.gates, -1, self.shape[1] * self.block.columns)
        return by_gate[:, : self.rows_per_gate, : self.columns].reshape(self.rows, self.columns)

    def scale(self, weights: Tensor, blocks: Tensor) -> None:
        """`scaled`, in place."""
        tiles = self.tiles(weights)
        if tiles.data_ptr() == weights.data_ptr():  # a view, since no block is cut by an edge
            tiles.mul_(blocks[:, None, :, None])
        else:
            weights.copy_(self.scaled(weights, blocks))

    def tiles(self, weights: Tensor) -> Tensor:
        """The blocks themselves, edge blocks filled up with zeros.

        weights: (rows, columns).
        Returns: (n_block_rows, block.rows, n_block_columns, block.columns).
        """
        self._check(weights, (self.rows, self.columns), "a matrix")
        below = -self.rows_per_gate % self.block.rows
        beside = -self.columns % self.block.columns
        by_gate = weights.view(self.gates, self.rows_per_gate, self.columns)
        if below or beside:
            by_gate = torch.nn.functional.pad(by_gate, (0, beside, 0, below))
        n_block_rows, n_block_columns = self.shape
        return by_gate.reshape(n_block_rows, self.block.rows, n_block_columns, self.block.columns)

    def _check(self, given: Tensor, shape: tuple[int, int], what: str) -> None:
        if tuple(given.shape) != shape:
            raise ValueError(f"this grid takes {what} of shape {shape}; got {tuple(given.shape)}")
