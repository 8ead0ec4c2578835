"""Dropout from few random bits."""

import torch
from torch import Tensor, nn

_STEPS = 1 << 16


class Dropout(nn.Module):
    """Zeros with probability p while training, and the rest times 1 / (1 − p) (Srivastava et al. 2014).

    A value is decided by 16 bits, so p counts in steps of 2⁻¹⁶. On the CPU torch's own draws 64 bits for
    each and takes four times as long, a fifteenth of an update of sparse levels.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"values are dropped with a probability of at least 0 and below 1; got {p}")
        self.p = p
        self.n_dropped = min(round(p * _STEPS), _STEPS - 1)  # of 2¹⁶ equally likely draws

    def forward(self, values: Tensor) -> Tensor:
        """The shape is kept."""
        if not self.training or self.n_dropped == 0:
            return values
        n_words = -(-values.numel() // 4)
        words = torch.empty(n_words, dtype=torch.int64, device=values.device).random_(-(1 << 63), None)
        drawn = words.view(torch.int16)[: values.numel()].view(values.shape)
        kept = (drawn >= self.n_dropped - _STEPS // 2).to(values.dtype)
        return values * kept.mul_(_STEPS / (_STEPS - self.n_dropped))

    def extra_repr(self) -> str:
        """Shown between the brackets of its name."""
        return f"p={self.p}"
