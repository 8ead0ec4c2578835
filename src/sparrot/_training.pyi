from torch import Tensor

def lattice_losses(
    edges: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    losses: Tensor,
    gradient: Tensor | None,
    *,
    threads: int,
) -> None:
    """Writes −log p(text | speech) of transducer lattices and the gradient with respect to their edges.

    edges:    float32 or float64 (batch, n_frames, width, 2), log-probabilities of blank and label.
    lengths, target_lengths: int64 (batch,).
    losses:   float64 (batch,), written.
    gradient: like edges, written where edges count; None if nobody needs it.

    All contiguous, on the CPU, and detached. Raises ValueError, before anything is written, if a length or
    a size is wrong.
    """
