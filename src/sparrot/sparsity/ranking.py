"""From scores to masks: exactly k blocks are kept, the same k on every machine."""

import math
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import Literal, TypeVar

import torch
from torch import Tensor

Scope = Literal["matrix", "type", "global"]
Name = TypeVar("Name", bound=Hashable)


def n_kept(n_blocks: int, sparsity: float) -> int:
    """⌊n·(1 − s) + ½⌋ blocks of n, with s read as the decimal it prints as.

    So 5 blocks at 0.9 keep 1, although 1 − 0.9 is a little less than 0.1 in binary.
    """
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"a sparsity is within 0 and 1; got {sparsity}")
    return math.floor(n_blocks * (1 - Fraction(str(float(sparsity)))) + Fraction(1, 2))


def ranks(scores: Tensor, tiers: Tensor | None = None) -> Tensor:
    """int64, the shape of `scores`: 0 for the best, ties to the lowest index.

    tiers: int64 of the same shape; a block of a higher tier comes before all of lower ones.
    """
    order = scores.flatten().argsort(descending=True, stable=True)
    if tiers is not None:
        order = order[tiers.flatten()[order].argsort(descending=True, stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(order.numel(), device=order.device)
    return rank.view_as(scores)


def joint_ranks(
    scores: Mapping[Name, Tensor],
    groups: Sequence[Sequence[Name]],
    tiers: Mapping[Name, Tensor] | None = None,
) -> dict[Name, Tensor]:
    """Ranks within each group of matrices, as if a group were one long vector.

    scores:  float (n_block_rows, n_block_columns) a matrix, finite.
    tiers:   int64 of the same shapes, as `ranks` takes them.
    Returns: int64 of the same shapes. The best block of each matrix comes before all others of its tier, so
             that without tiers no matrix is emptied while a group keeps as many blocks as it has matrices
             (our choice). Ties go to the earlier matrix, then to the lower index.
    """
    ranked: dict[Name, Tensor] = {}
    for group in groups:
        of_group = None if tiers is None else torch.cat([tiers[name].flatten() for name in group])
        flat = ranks(torch.cat([_best_lifted(scores[name].flatten()) for name in group]), of_group)
        pieces = flat.split([scores[name].numel() for name in group])
        ranked |= {name: piece.view_as(scores[name]) for name, piece in zip(group, pieces, strict=True)}
    return ranked


def joint_best(
    scores: Mapping[Name, Tensor], groups: Sequence[Sequence[Name]], wanted: Sequence[int]
) -> dict[Name, Tensor]:
    """The best blocks of each group: those that `joint_ranks` ranks below `wanted`, found without sorting.

    scores:  float (n_block_rows, n_block_columns) a matrix, finite.
    wanted:  how many blocks each group keeps.
    Returns: bool of the same shapes.
    """
    best: dict[Name, Tensor] = {}
    for group, n in zip(groups, wanted, strict=True):
        flat = _largest(torch.cat([_best_lifted(scores[name].flatten()) for name in group]), n)
        pieces = flat.split([scores[name].numel() for name in group])
        best |= {name: piece.view_as(scores[name]) for name, piece in zip(group, pieces, strict=True)}
    return best


def _largest(scores: Tensor, n: int) -> Tensor:
    """bool: the n largest of a vector, of equal ones the first."""
    if n < 1:
        return torch.zeros_like(scores, dtype=torch.bool)
    least = scores.kthvalue(scores.numel() - n + 1).values
    larger, equal = scores > least, scores == least
    return larger | (equal & (equal.cumsum(0) <= n - larger.sum()))


def _best_lifted(scores: Tensor) -> Tensor:
    """A vector with the best score, the first of equal ones, at infinity."""
    lifted = scores.clone()
    lifted[(scores == scores.max()).to(torch.uint8).argmax()] = math.inf
    return lifted
