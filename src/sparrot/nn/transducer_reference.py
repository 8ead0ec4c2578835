"""The loss of a transducer in plain torch: to read, and to compare the compiled one with."""

import torch
from torch import Tensor
from torch.nn import functional

from sparrot.nn.batch import is_inside


def rnnt_loss_by_rows(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """−log p(text | speech) of each utterance, as `sparrot.nn.rnnt_loss`, row by row of the lattice.

    Arguments as there, unchecked, and of any floating type and device; logits are finite also outside the
    utterances. Needs several tensors of the size of the logits.

        log α(t, u) = λ(t, u) + log Σ_{j ≤ u} exp(log α(t − 1, j) + log p(blank | t − 1, j) − λ(t, j))

    with λ(t, u) = Σ_{j < u} log p(label | t, j), which is Graves 2012, eq. 16, solved for one row.

    Error: λ is subtracted and added again, so that of the loss grows with the largest |λ|.
    """
    blank, label = edges_in_torch(logits, targets, target_lengths)
    along = functional.pad(label[:, :, :-1].cumsum(2), (1, 0))  # λ
    down = (blank + along)[:, :-1] - along[:, 1:]
    rows = [torch.zeros_like(blank[:, 0])]  # log α − λ
    for step in down.unbind(1):
        rows.append(torch.logcumsumexp(rows[-1] + step, 1))
    ends = torch.stack(rows, 1) + along + blank
    return -ends[torch.arange(len(logits), device=logits.device), lengths - 1, target_lengths]


def edges_in_torch(logits: Tensor, targets: Tensor, target_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (batch, T, U + 1) of the blank, and of the next label; past a text, of any token."""
    _, n_frames, n_nodes, _ = logits.shape
    labels = functional.pad(targets, (0, 1)).masked_fill(~is_inside(target_lengths, n_nodes), 0)
    tokens = torch.stack([torch.zeros_like(labels), labels], 2)[:, None].expand(-1, n_frames, -1, -1)
    blank, label = functional.log_softmax(logits, dim=3).gather(3, tokens).unbind(3)
    return blank, label
