"""What only the training half computes in C++. Arrays are tensors: contiguous, detached and on the CPU.

threads: how many may run. isa: an instruction set of `sparrot._core.available_kernels()`, None for the best.
"""

from torch import Tensor

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
