"""The proximal step of the penalty √|w|, compiled."""

import torch
from torch import Tensor

from sparrot import _training, sparsity


def shrink_half(weight: Tensor, reach: float) -> None:
    """`sparrot.sparsity.shrink_half`, four times as fast where float32 lies contiguous on the CPU."""
    if weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.is_contiguous():
        _training.shrink_half(weight.detach(), reach, threads=torch.get_num_threads())
    else:
        sparsity.shrink_half(weight, reach)
