"""Batch normalisation with statistics for each level of sparsity."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from sparrot.architecture import Shape
from sparrot.nn.batch import Batch, is_inside
from sparrot.sparsity import Level

STATISTICS: Final = ("means", "variances", "n_updates")  # buffers with a row for each level
MOMENTUM = 0.1  # weight of a batch in the running statistics, and of the first ones at least its share


class BatchNorm(nn.Module):
    """Normalises every channel over the frames of a batch (Ioffe & Szegedy 2015).

    All levels share γ and β; each has running statistics of its own, since pruned weights make other
    values. While training, the statistics are those of the batch: of the frames inside utterances, padding
    left out. `sparrot.sparsity` says which level is at work (`use_level`). A level that was never trained
    has the statistics of the first, the full model. A point between two levels adds to no statistics; its
    scale and shift lie between theirs, linearly, as those of a model file's unnamed stops do.

    groups: `architecture.BatchNorm.groups` of what it is given.
    """

    def __init__(self, groups: Shape, epsilon: float, levels: Sequence[str]) -> None:
        super().__init__()
        self.groups, self.epsilon, self.levels = groups, epsilon, tuple(levels)
        self.scale = nn.Parameter(torch.ones(groups.channels))
        self.shift = nn.Parameter(torch.zeros(groups.channels))
        self.means: Tensor
        self.variances: Tensor
        self.n_updates: Tensor
        self.register_buffer("means", torch.zeros(len(levels), groups.channels))
        self.register_buffer("variances", torch.ones(len(levels), groups.channels))
        self.register_buffer("n_updates", torch.zeros(len(levels), dtype=torch.int64))
        self._place = 0.0  # the level at work, counted from the full model's, or a point between two

    def use_level(self, level: Level) -> None:
        """Takes the statistics of a level from here on. Raises ValueError if there are none."""
        place = self.levels.index(level) if level in self.levels else level
        if isinstance(place, str) or not 0 <= place <= len(self.levels) - 1:
            raise ValueError(
                f"there are no statistics for level `{level}`, only for {', '.join(self.levels)}; make the "
                "network with the levels that it is to have"
            )
        self._place = float(place)

    def forward(self, frames: Tensor, lengths: Tensor) -> Batch:
        """The shape is kept."""
        inside = frames[is_inside(lengths, frames.shape[1])]
        if not self.training or len(inside) == 0:
            scale, shift = (self._repeated(part) for part in self._affine())
            return frames * scale + shift, lengths
        by_group = inside.unflatten(1, (self.groups.channels, self.groups.bins))
        variance, mean = torch.var_mean(by_group, dim=(0, 2), correction=0)
        self._take_up(mean.detach(), variance.detach(), len(inside) * self.groups.bins)
        inverse = self.scale / torch.sqrt(variance + self.epsilon)
        centred = frames - self._repeated(mean)
        return centred * self._repeated(inverse) + self._repeated(self.shift), lengths

    def export(self) -> Mapping[str, Tensor]:
        """`scale` and `shift` of the level at work."""
        scale, shift = self._affine()
        return {"scale": scale, "shift": shift}

    def _affine(self) -> tuple[Tensor, Tensor]:
        row, beyond = int(self._place), self._place % 1.0
        scale, shift = self._affine_of(row)
        if beyond == 0.0:
            return scale, shift
        sparser = self._affine_of(row + 1)
        return torch.lerp(scale, sparser[0], beyond), torch.lerp(shift, sparser[1], beyond)

    def _affine_of(self, level: int) -> tuple[Tensor, Tensor]:
        row = level if self.n_updates[level] > 0 else 0
        scale = self.scale / torch.sqrt(self.variances[row] + self.epsilon)
        return scale, self.shift - self.means[row] * scale

    def _repeated(self, by_group: Tensor) -> Tensor:
        return by_group.repeat_interleave(self.groups.bins)

    def _take_up(self, mean: Tensor, variance: Tensor, n_values: int) -> None:
        """Adds a batch to the level's running statistics; its variance as that of a sample, as torch does."""
        if self._place % 1.0 != 0.0:
            return
        row = int(self._place)
        self.n_updates[row] += 1
        weight = max(MOMENTUM, 1.0 / float(self.n_updates[row]))
        self.means[row].lerp_(mean, weight)
        self.variances[row].lerp_(variance * (n_values / max(n_values - 1, 1)), weight)
