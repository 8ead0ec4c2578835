"""The losses of a CTC network."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from sparrot.nn.batch import is_inside


def ctc_loss(logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """−log p(text | speech) of each utterance (Graves et al. 2006), in nats.

    logits:  float (batch, n_frames, n_tokens), blank first; lengths: int64 (batch,).
    targets: int64 (batch, longest text), filled up with anything; target_lengths: int64 (batch,).
    Returns: float (batch,); infinite where an utterance is too short for its text.
    """
    log_probs = functional.log_softmax(logits, dim=2).transpose(0, 1)
    return functional.ctc_loss(log_probs, targets, lengths, target_lengths, blank=0, reduction="none")


def framewise_divergence(logits: Tensor, teacher: Tensor, lengths: Tensor) -> Tensor:
    """Σ over an utterance's frames of KL(teacher ‖ student), in nats.

    logits, teacher: float (batch, n_frames, n_tokens); no gradient flows to the teacher.
    Returns:         float (batch,).

        Σ_t Σ_k p_tk (log p_tk − log q_tk),   p = softmax(teacher), q = softmax(logits), temperature 1
    """
    student = functional.log_softmax(logits, dim=2)
    reference = functional.log_softmax(teacher.detach(), dim=2)
    divergence = (reference.exp() * (reference - student)).sum(dim=2)
    return divergence.masked_fill(~is_inside(lengths, logits.shape[1]), 0.0).sum(dim=1)


def required_frames(targets: list[int]) -> int:
    """Fewest frames in which CTC can write the tokens: one each, and a blank between equal neighbours."""
    return len(targets) + sum(a == b for a, b in pairwise(targets))


def greedy_tokens(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """The best token of every frame, repeats merged and blanks left out, for each utterance."""
    best = logits.argmax(dim=2)
    texts = []
    for frames, length in zip(best, lengths.tolist(), strict=True):
        merged = torch.unique_consecutive(frames[:length])
        texts.append(merged[merged != 0].tolist())
    return texts
