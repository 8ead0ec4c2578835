"""The loss of a recurrent neural network transducer (Graves 2012, arXiv:1211.3711), and its distillation.

At node (t, u) of an utterance's lattice, t frames are over and u labels are written: the blank leads to
(t + 1, u), the next label to (t, u + 1), and an alignment ends with the blank of the last frame, where all
labels are written. The loss is made in two steps, of which the first alone looks at all tokens:

    logits (batch, T, U + 1, V) → edges (batch, T, U + 1, 2) → −log p(text | speech) (batch,)

What teaches by the edges (`lattice_divergence`) shares the first. Token 0 is the blank. All is compiled, and
runs on as many threads as torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparrot import _training


def rnnt_loss(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """−log p(text | speech) of each utterance, in nats: `transducer_loss` of the `edge_log_probs`."""
    edges = edge_log_probs(logits, targets, lengths, target_lengths)
    return transducer_loss(edges, lengths, target_lengths)


def edge_log_probs(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Log-probabilities of the blank and of the next label at every node.

    logits:         float32 or float64 (batch, T, U + 1, V); copied if they are not contiguous.
    targets:        int64 (batch, U), labels from 1 to V − 1, filled up with anything.
    lengths:        int64 (batch,), frames of each utterance, from 1 to T.
    target_lengths: int64 (batch,), labels of each utterance, from 0 to U.
    Returns:        (batch, T, U + 1, 2), the blank first; −∞ outside the utterance, and for the label at the
                    end of the text.

    Nodes outside are not read, and their gradient is zero. Backward writes the gradient in one pass and needs
    no other tensor of its size:

        ∂/∂x_k = Σ_j g_j (δ_{k, token of edge j} − softmax(x)_k)

    Error:  of a log-probability a, (V + 3 ln V + 3 + 2 |a|) u, with u = 2^-24, or 2^-53 for float64. A NaN or
            +∞ among the logits of a node makes its edges NaN.
    Raises: TypeError or ValueError if an argument is not as above.
    """
    if logits.dim() != 4 or 0 in logits.shape[2:]:
        raise ValueError(f"`logits` are (batch, T, U + 1, V); got {tuple(logits.shape)}")
    n, _, width, _ = logits.shape
    _check("logits", logits, logits.shape, *_FLOATS)
    _check("targets", targets, (n, width - 1), torch.int64)
    _check("lengths", lengths, (n,), torch.int64)
    _check("target_lengths", target_lengths, (n,), torch.int64)
    edges: Tensor = _EdgeLogProbs.apply(logits, targets, lengths, target_lengths)
    return edges


def transducer_loss(edges: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """−log Σ over all alignments of the product of their edges' probabilities, in nats.

    edges:   float32 or float64 (batch, T, U + 1, 2), log-probabilities of the blank and of the next label.
             Those that `edge_log_probs` makes −∞ are not read.
    lengths, target_lengths: as there.
    Returns: (batch,), summed in float64; infinite if no alignment is possible, NaN if an edge of one is.

    The gradient in an edge is minus the probability that an alignment takes it (Graves 2012, eq. 20), zero
    outside the utterance. Where the loss is not finite, it is NaN.

    Raises:  TypeError or ValueError if an argument is not as above.
    """
    _check_edges(edges, lengths, target_lengths)
    losses: Tensor = _OfLattices.apply(_training.lattice_losses, edges, lengths, target_lengths)
    return losses


def lattice_divergence(edges: Tensor, teacher: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Σ over an utterance's nodes of KL(teacher ‖ student) over {blank, next label, rest}, in nats.

    edges:   the student's, float32 or float64 (batch, T, U + 1, 2), as for `transducer_loss`.
    teacher: edges of the same type and shape, to which no gradient flows.
    lengths, target_lengths: as there.
    Returns: (batch,), summed in float64 (Panchapagesan et al. 2021, arXiv:2011.06110, temperature 1).

        Σ_{t,u} Σ_k p_k (log p_k − log q_k),   p_rest = 1 − p_blank − p_label,   q likewise

    Where all labels are written, the label is among the rest. A rest is at least the ε of the type, 2^-23 or
    2^-52, so that the gradient, q_k p_rest / q_rest − p_k for log q_k, is always finite.

    Raises:  TypeError or ValueError if an argument is not as above.
    """
    _check_edges(edges, lengths, target_lengths)
    _check("teacher", teacher, edges.shape, edges.dtype)
    batch = (edges, teacher, lengths, target_lengths)
    divergences: Tensor = _OfLattices.apply(_training.lattice_divergences, *batch)
    return divergences


class _EdgeLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        logits, targets, lengths, target_lengths = (tensor.detach().contiguous() for tensor in given)
        edges = logits.new_empty(*logits.shape[:3], 2)
        normalisers = torch.empty_like(edges)
        threads = torch.get_num_threads()
        _training.edge_log_probs(
            logits, targets, lengths, target_lengths, edges, normalisers, threads=threads
        )
        ctx.save_for_backward(logits, targets, lengths, target_lengths, normalisers)
        return edges

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, lengths, target_lengths, normalisers = ctx.saved_tensors
        slopes, gradient = slopes.contiguous(), torch.empty_like(logits)
        threads = torch.get_num_threads()
        _training.edge_gradients(
            logits, targets, lengths, target_lengths, normalisers, slopes, gradient, threads=threads
        )
        return gradient, None, None, None


class _OfLattices(torch.autograd.Function):
    """A figure of each utterance and its gradient in the edges, both made by one compiled function."""

    @staticmethod
    def forward(ctx: Any, compiled: Callable[..., None], *given: Tensor) -> Tensor:
        edges, *others = (tensor.detach().contiguous() for tensor in given)
        figures = edges.new_empty(len(edges), dtype=torch.float64)
        gradient = torch.zeros_like(edges) if ctx.needs_input_grad[1] else None
        compiled(edges, *others, figures, gradient, threads=torch.get_num_threads())
        ctx.save_for_backward(gradient)
        ctx.n_others = len(others)
        return figures.to(edges.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return None, slopes[:, None, None, None] * gradient, *[None] * ctx.n_others


_FLOATS = (torch.float32, torch.float64)


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], *dtypes: torch.dtype) -> None:
    """Raises TypeError or ValueError for another kind of tensor; what it holds is checked in C++."""
    if tensor.device.type != "cpu":
        raise ValueError(f"the transducer's loss runs on the CPU: move `{name}` there from {tensor.device}")
    if tensor.dtype not in dtypes:
        raise TypeError(f"`{name}` is {tensor.dtype}: it must be {' or '.join(map(str, dtypes))}")
    if tensor.shape != shape:
        raise ValueError(f"`{name}` is {tuple(tensor.shape)}: for these lattices it must be {tuple(shape)}")


def _check_edges(edges: Tensor, lengths: Tensor, target_lengths: Tensor) -> None:
    """Raises like `_check` unless these are edges and lengths of one batch."""
    if edges.dim() != 4 or edges.shape[2] == 0 or edges.shape[3] != 2:
        raise ValueError(f"`edges` are (batch, T, U + 1, 2); got {tuple(edges.shape)}")
    _check("edges", edges, edges.shape, *_FLOATS)
    _check("lengths", lengths, edges.shape[:1], torch.int64)
    _check("target_lengths", target_lengths, edges.shape[:1], torch.int64)
