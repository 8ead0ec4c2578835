"""Losses of training between two evaluations; a checkpoint has them, so that a stop changes no mean."""

from collections.abc import Mapping

Totals = dict[str, tuple[float, int]]  # level → sum, number of updates


def counted(totals: Totals, losses: Mapping[str, float]) -> Totals:
    """The totals with the losses of one more update."""
    more = dict(totals)
    for level, loss in losses.items():
        total, n_updates = totals.get(level, (0.0, 0))
        more[level] = total + loss, n_updates + 1
    return more


def means(totals: Totals) -> dict[str, float]:
    """The mean loss of each level."""
    return {level: total / n_updates for level, (total, n_updates) in totals.items()}
