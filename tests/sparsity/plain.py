"""Plain truth about block sparsity: lists, loops and float64, nothing shared with the package."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf

import torch
from torch import Tensor, nn

Cell = tuple[int, int]  # row and column of one weight
Loss = Callable[[nn.Module, Tensor], Tensor]


def cells_of_blocks(
    rows: int, columns: int, block: tuple[int, int], gates: int = 1
) -> list[list[list[Cell]]]:
    """[block row][block column] → the weights of that block, row by row."""
    rows_per_gate = rows // gates
    block_rows = [
        range(gate * rows_per_gate + first, gate * rows_per_gate + min(first + block[0], rows_per_gate))
        for gate in range(gates)
        for first in range(0, rows_per_gate, block[0])
    ]
    block_columns = [range(first, min(first + block[1], columns)) for first in range(0, columns, block[1])]
    return [[[(i, j) for i in tall for j in wide] for wide in block_columns] for tall in block_rows]


def n_kept(n_blocks: int, sparsity: float) -> int:
    return int(n_blocks * (1 - Decimal(str(sparsity))) + Decimal("0.5"))


def cubic(step: int, begin: int, end: int) -> float:
    if step <= begin:
        return 0.0
    return 1.0 if step >= end else 1.0 - (1.0 - (step - begin) / (end - begin)) ** 3


def best(scores: Sequence[float], n: int) -> set[int]:
    """Indices of the `n` highest scores, the earlier of equal ones first."""
    return set(sorted(range(len(scores)), key=lambda index: (-scores[index], index))[:n])


@dataclass(frozen=True)
class Matrix:
    """What a test knows of a matrix by reading the model, not by asking the package."""

    name: str
    type: str
    gates: int


@dataclass(frozen=True)
class Plan:
    """One way of training: everything that `DynamicSparsity` is told."""

    matrices: tuple[Matrix, ...]
    levels: dict[str, dict[str, float]]  # the full model first
    block: tuple[int, int]
    end: int  # of the cubic ramp, which begins at step 0
    mask_every: int = 2
    scope: str = "matrix"
    nested: bool = True
    smoothing: float = 0.99
    gradient: str = "full"


class PlainTraining:
    """The update of dynamic sparsity on masked copies of the model, one weight at a time."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, loss: Loss) -> None:
        self.model, self.optimizer, self.plan, self.loss = model, optimizer, plan, loss
        self.weights = {matrix.name: model.get_parameter(matrix.name) for matrix in plan.matrices}
        self.blocks: dict[str, list[list[Cell]]] = {}
        for matrix in plan.matrices:
            rows, columns = self.weights[matrix.name].shape
            cut = cells_of_blocks(rows, columns, plan.block, matrix.gates)
            self.blocks[matrix.name] = [cells for block_row in cut for cells in block_row]
        self.dropped: dict[str, dict[str, set[int]]] = {
            level: {name: set() for name in self.blocks} for level in plan.levels
        }
        self.scores: dict[str, dict[str, list[float]]] = {}
        self.step_count = 0

    def update(self, micro_batches: Sequence[Tensor]) -> None:
        gradients = {name: torch.zeros_like(p) for name, p in self.model.named_parameters()}
        fresh: dict[str, dict[str, list[float]]] = {}
        sums: dict[str, Tensor] = {}
        for level in self.plan.levels:
            for batch in micro_batches:
                self._pass(level, batch, gradients, fresh, sums)
        if self.plan.gradient != "full":
            fresh = {next(iter(self.plan.levels)): {name: self._scored(name, sums[name]) for name in sums}}
        for name, parameter in self.model.named_parameters():
            parameter.grad = gradients[name]
        self.optimizer.step()
        self.step_count += 1
        self._smooth(fresh)
        if self.step_count % self.plan.mask_every == 0:
            for level in list(self.plan.levels)[1:]:
                self._renew(level)

    def _pass(self, level: str, batch: Tensor, gradients: dict[str, Tensor], fresh: dict, sums: dict) -> None:
        masked = copy.deepcopy(self.model)
        masked.zero_grad()
        with torch.no_grad():
            for name in self.blocks:
                for i, j in self._dropped_cells(level, name):
                    masked.get_parameter(name)[i, j] = 0.0
        self.loss(masked, batch).backward()
        for name, blocks in self.blocks.items():
            gradient = masked.get_parameter(name).grad
            scores = self._scored(name, gradient)
            so_far = fresh.setdefault(level, {}).get(name, [0.0] * len(blocks))
            fresh[level][name] = [old + new for old, new in zip(so_far, scores, strict=True)]
            everywhere = gradient.clone()
            for i, j in self._dropped_cells(level, name):
                gradient[i, j] = 0.0
            scored = everywhere if self.plan.gradient == "straight_through" else gradient
            sums[name] = sums.get(name, 0.0) + scored
        for name, parameter in masked.named_parameters():
            gradients[name] += parameter.grad

    def _scored(self, name: str, gradient: Tensor) -> list[float]:
        weight, g = self.weights[name].tolist(), gradient.tolist()
        return [sum(abs(weight[i][j] * g[i][j]) for i, j in cells) for cells in self.blocks[name]]

    def _dropped_cells(self, level: str, name: str) -> list[Cell]:
        return [cell for block in self.dropped[level][name] for cell in self.blocks[name][block]]

    def _smooth(self, fresh: dict[str, dict[str, list[float]]]) -> None:
        a = self.plan.smoothing
        for level, by_name in fresh.items():
            for name, new in by_name.items():
                old = self.scores.setdefault(level, {}).get(name, new)
                self.scores[level][name] = [a * o + (1 - a) * n for o, n in zip(old, new, strict=True)]

    def _renew(self, level: str) -> None:
        share = cubic(self.step_count, 0, self.plan.end)
        scored = next(iter(self.plan.levels)) if self.plan.nested else level
        for group in self._groups():
            pooled = [(matrix.name, b) for matrix in group for b in range(len(self.blocks[matrix.name]))]
            lifted = {matrix.name: min(best(self.scores[scored][matrix.name], 1)) for matrix in group}
            scores = [inf if b == lifted[name] else self.scores[scored][name][b] for name, b in pooled]
            kept = best(scores, self._n_kept(group, level, share))
            for matrix in group:
                self.dropped[level][matrix.name] = {
                    b for index, (name, b) in enumerate(pooled) if name == matrix.name and index not in kept
                }

    def _n_kept(self, group: Sequence[Matrix], level: str, share: float) -> int:
        n_blocks: dict[str, int] = {}
        for matrix in group:
            n_blocks[matrix.type] = n_blocks.get(matrix.type, 0) + len(self.blocks[matrix.name])
        targets = self.plan.levels[level]
        return sum(n_kept(n, share * targets.get(kind, 0.0)) for kind, n in n_blocks.items())

    def _groups(self) -> list[list[Matrix]]:
        matrices = list(self.plan.matrices)
        if self.plan.scope == "matrix":
            return [[matrix] for matrix in matrices]
        if self.plan.scope == "type":
            kinds = dict.fromkeys(matrix.type for matrix in matrices)
            return [[matrix for matrix in matrices if matrix.type == kind] for kind in kinds]
        return [matrices]
