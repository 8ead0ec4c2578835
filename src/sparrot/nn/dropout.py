"""Dropout from few random bits, as strong as the level at work wants it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparrot.sparsity import Level

_STEPS = 1 << 16


class Dropout(nn.Module):
    """Zeros with probability p while training, and the rest times 1 / (1 − p) (Srivastava et al. 2014).

    A value is decided by 16 bits, so p counts in steps of 2⁻¹⁶. On the CPU torch's own draws 64 bits for
    each and takes four times as long, a fifteenth of an update of sparse levels.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = _probability(p)
        self._own: list[tuple[str, float]] = []  # of every level, densest first, if they differ
        self._p_now = p

    def give_levels(self, p: Mapping[str, float]) -> None:
        """Gives levels, densest first, probabilities of their own (see `use_level`)."""
        self._own = [(level, _probability(own)) for level, own in p.items()]

    def use_level(self, level: Level) -> None:
        """Takes the probability of a level from here on, as `sparrot.sparsity` asks for.

        A point between two levels has a probability between theirs, linearly.
        """
        if not self._own:
            return
        names, own = zip(*self._own, strict=True)
        place = names.index(level) if isinstance(level, str) else level
        before, beyond = int(place), place % 1.0
        self._p_now = own[before]
        if beyond > 0.0:
            self._p_now += beyond * (own[before + 1] - own[before])

    def forward(self, values: Tensor) -> Tensor:
        """The shape is kept."""
        n_dropped = min(round(self._p_now * _STEPS), _STEPS - 1)  # of 2¹⁶ equally likely draws
        if not self.training or n_dropped == 0:
            return values
        n_words = -(-values.numel() // 4)
        words = torch.empty(n_words, dtype=torch.int64, device=values.device).random_(-(1 << 63), None)
        drawn = words.view(torch.int16)[: values.numel()].view(values.shape)
        kept = (drawn >= n_dropped - _STEPS // 2).to(values.dtype)
        return values * kept.mul_(_STEPS / (_STEPS - n_dropped))

    def extra_repr(self) -> str:
        """Shown between the brackets of its name."""
        return ", ".join([f"p={self.p}", *(f"{level}={own}" for level, own in self._own)])


def _probability(p: float) -> float:
    if not 0.0 <= p < 1.0:
        raise ValueError(f"values are dropped with a probability of at least 0 and below 1; got {p}")
    return p
