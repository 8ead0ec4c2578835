"""What only the training half computes in C++. Arrays are tensors: contiguous, detached and on the CPU.

threads: how many may run. isa: an instruction set of `sparrot._core.available_kernels()`, None for the best.
"""

from collections.abc import Sequence

from torch import Tensor

class BlockMatrix:
    """Which blocks of a weight matrix (rows, columns) of `gates` row groups are kept.

    A block is one column of a strip, 16 rows of a gate or what is left of it. Values of kept blocks are
    packed strip after strip, 16 a block, columns rising. Tensors are contiguous, on the CPU, and detached;
    raises ValueError if one is of another shape.
    """

    def __init__(self, kept: Tensor, rows: int, gates: int) -> None:
        """kept: bool (strips, columns), strips gate after gate."""

    @property
    def n_values(self) -> int:
        """Of packed values, zeros below the last row of a gate included."""

    def pack(self, matrix: Tensor, values: Tensor) -> None:
        """Writes values, float32 (n_values,), from the kept blocks of a matrix, float32 (rows, columns)."""

    def unpack(self, values: Tensor, matrix: Tensor) -> None:
        """Writes the kept blocks of a matrix; what is not kept stays."""

class BlockLstm:
    """One LSTM layer, in one direction, that computes with the kept blocks of its matrices.

    x, y, d_x, d_y: float32 (batch, n_frames, width or hidden); trace: (batch, n_frames, trace_width), what
    backward needs of forward. values: packed, a tensor for each matrix; bias: float32 (4 · cells,). As
    above, all tensors are contiguous.
    """

    def __init__(
        self,
        input: BlockMatrix,
        recurrent: BlockMatrix,
        projection: BlockMatrix | None = None,
        *,
        isa: str | None = None,
    ) -> None:
        """Raises ValueError if the matrices are not those of one layer.

        isa: one of `sparrot._core.available_kernels()`; None is the one in use.
        """

    @property
    def trace_width(self) -> int:
        """Values of a frame in the trace."""

    def forward(
        self,
        x: Tensor,
        values: Sequence[Tensor],
        bias: Tensor,
        y: Tensor,
        trace: Tensor,
        *,
        threads: int,
    ) -> None:
        """Writes y and trace."""

    def backward(
        self,
        x: Tensor,
        values: Sequence[Tensor],
        y: Tensor,
        trace: Tensor,
        d_y: Tensor,
        d_x: Tensor | None,
        d_values: Sequence[Tensor],
        d_bias: Tensor,
        *,
        threads: int,
    ) -> None:
        """Writes d_x, and adds to d_values and d_bias."""

def edge_log_probs(
    logits: Tensor,
    targets: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    edges: Tensor,
    normalisers: Tensor,
    *,
    threads: int,
    isa: str | None = None,
) -> None:
    """Writes the edges of transducer lattices, as `sparrot.nn.edge_log_probs` returns them.

    edges, normalisers: (batch, T, U + 1, 2); the latter are for `edge_gradients`.
    Raises ValueError, before anything is written, if a length, a target or a size is wrong.
    """

def edge_gradients(
    logits: Tensor,
    targets: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    normalisers: Tensor,
    slopes: Tensor,
    gradient: Tensor,
    *,
    threads: int,
    isa: str | None = None,
) -> None:
    """Writes the gradient in the logits from that in the edges, `slopes`. Raises as `edge_log_probs`."""

def lattice_losses(
    edges: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    losses: Tensor,
    gradient: Tensor | None,
    *,
    threads: int,
    isa: str | None = None,
) -> None:
    """Writes −log p(text | speech) of each lattice, float64 (batch,), and the gradient in its edges.

    gradient: like the edges; written where they count, and nowhere else.
    Raises ValueError, before anything is written, if a length or a size is wrong.
    """

def lattice_divergences(
    student: Tensor,
    teacher: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    divergences: Tensor,
    gradient: Tensor | None,
    *,
    threads: int,
    isa: str | None = None,
) -> None:
    """Writes Σ KL(teacher ‖ student) over the nodes of each lattice and the gradient, as `lattice_losses`."""

def shrink_half(weights: Tensor, reach: float, *, threads: int, isa: str | None = None) -> None:
    """In place, w ← argmin_v (v − w)² / 2 + reach · √|v| of all weights, float32 of any shape."""
