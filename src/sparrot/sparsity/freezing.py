"""Weights that no longer move, whatever an optimiser does to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sparrot.sparsity.masks import BlockMask
from sparrot.sparsity.targets import Target


class FrozenWeights:
    """Blocks whose weights stand still.

    Their gradient is masked (`where`), so that nothing that looks at gradients counts them. Weight decay and
    momentum move a weight without a gradient too: `restore` writes its value back after the optimiser's step.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._masks: dict[str, BlockMask] = {}
        self._where: dict[str, Tensor] = {}
        self._values: dict[str, Tensor] = {}  # of the frozen weights of a matrix, row by row

    @property
    def where(self) -> Mapping[str, Tensor]:
        """Where weights stand still: bool (rows, columns) by the name of each matrix that has such."""
        return self._where

    def add(self, masks: Mapping[str, BlockMask]) -> None:
        """Freezes the kept blocks of every matrix at the values that they have now."""
        for target in self._targets:
            mask, before = masks[target.name], self._masks.get(target.name)
            both = mask if before is None else BlockMask(mask.keep | before.keep, mask.grid)
            self._set(target, both)
            self._values[target.name] = target.parameter.detach()[self._where[target.name]]

    def restore(self) -> None:
        """Undoes whatever has happened to frozen weights."""
        with torch.no_grad():
            for target in self._targets:
                if target.name in self._where:
                    target.parameter.masked_scatter_(self._where[target.name], self._values[target.name])

    def state_dict(self) -> dict[str, Any]:
        """The frozen blocks and their values."""
        return {
            "keep": {name: mask.keep for name, mask in self._masks.items()},
            "values": dict(self._values),
        }

    def load_state_dict(self, state: Mapping[str, Any], masks: Mapping[str, BlockMask]) -> None:
        """Takes up what `state_dict` gave, on the grids of `masks`."""
        self.clear()
        for target in self._targets:
            if target.name in state["keep"]:
                self._set(target, BlockMask(state["keep"][target.name].cpu(), masks[target.name].grid))
                values = state["values"][target.name]
                self._values[target.name] = values.to(target.parameter.device)

    def clear(self) -> None:
        """Lets everything move again."""
        self._masks.clear()
        self._where.clear()
        self._values.clear()

    def _set(self, target: Target, mask: BlockMask) -> None:
        self._masks[target.name] = mask
        self._where[target.name] = (~mask.dropped_weights()).to(target.parameter.device)
