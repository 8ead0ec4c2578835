"""Networks whose weights change inside the utterances, as those of a stream do that switches its level."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparrot.nn.batch import Batch

Weights: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Switching:
    """Which weights are at work when, in a batch of utterances (our choice).

    A frame of a layer's output belongs to the level at its time. A recurrent layer carries its state from one
    level to the next, as the engine does.

    ends:    where levels end, rising shares of the longest utterance; the last one is 1.
    levels:  the one that ends there, of each.
    weights: by level, by the network's name of the parameter; one that is not named is the network's own.
    """

    ends: Sequence[float]
    levels: Sequence[str]
    weights: Mapping[str, Weights]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip((0.0, *self.ends), self.ends, strict=False))
        if not self.ends or not rising or self.ends[-1] != 1.0 or len(self.ends) != len(self.levels):
            raise ValueError(
                "levels end at rising shares of an utterance, the last at 1, and there are as many of both; "
                f"got {list(self.levels)} and {list(self.ends)}"
            )

    def of(self, part: str) -> "Switching":
        """The same of a part of the network, by that part's names of its parameters."""
        start = f"{part}."
        weights = {
            level: {name.removeprefix(start): w for name, w in own.items() if name.startswith(start)}
            for level, own in self.weights.items()
        }
        return replace(self, weights=weights)

    def run(self, layer: nn.Module, frames: Tensor, lengths: Tensor) -> Batch:
        """What a layer without state makes of a batch, as `LayerStack` calls it."""
        levels = dict.fromkeys(self.levels)
        found = {level: _call(layer, self._of(level), frames, lengths) for level in levels}
        of_any, lengths = next(iter(found.values()))
        parts = [found[level][0][:, span] for level, span in self._spans(of_any.shape[1])]
        return torch.cat(parts, dim=1), lengths

    def run_recurrent(self, layer: nn.Module, frames: Tensor) -> Tensor:
        """What one of torch's recurrent layers makes of (batch, n_frames, width)."""
        parts, state = [], None
        for level, span in self._spans(frames.shape[1]):
            output, state = functional_call(layer, dict(self._of(level)), (frames[:, span], state))
            parts.append(output)
        return torch.cat(parts, dim=1)

    def run_framewise(self, layer: nn.Module, frames: Tensor) -> Tensor:
        """What a layer that sees one frame at a time makes of (batch, n_frames, …)."""
        spans = self._spans(frames.shape[1])
        return torch.cat([_call(layer, self._of(level), frames[:, span]) for level, span in spans], dim=1)

    def _of(self, level: str) -> Weights:
        return self.weights.get(level, {})

    def _spans(self, n_frames: int) -> Iterator[tuple[str, slice]]:
        """The frames of each level, of so many; levels that have none are left out."""
        begin = 0
        for level, share in zip(self.levels, self.ends, strict=True):
            end = math.ceil(share * n_frames)
            if end > begin:
                yield level, slice(begin, end)
            begin = end


def _call(layer: nn.Module, weights: Weights, *given: Tensor) -> Any:
    return functional_call(layer, dict(weights), given)
