"""A padded batch of utterances: frames (batch, n_frames, width) and lengths, int64 (batch,)."""

from typing import TypeAlias

import torch
from torch import Tensor

Batch: TypeAlias = tuple[Tensor, Tensor]


def is_inside(lengths: Tensor, n_frames: int) -> Tensor:
    """True for the frames that belong to an utterance: bool (batch, n_frames)."""
    return torch.arange(n_frames, device=lengths.device)[None, :] < lengths[:, None]
