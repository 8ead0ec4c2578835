"""Levels that learn next to nothing because their gradients are small beside the full model's."""

from collections.abc import Mapping

from sparrot.train.update import Pass

SMOOTHING = 0.99  # weight of the past in the averages of norms, an update
PATIENCE = 200  # updates of a level before it is judged
LEAST_SHARE = 0.1  # of the full model's gradient norm, below which a level starves (our choice)


class Starvation:
    """Watches the gradient norms of a run's passes.

    Distillation is the usual cause: a level that says nearly what the full model says has a small divergence,
    however wrong both are.
    """

    def __init__(self) -> None:
        self._norms: dict[str, float] = {}  # moving averages
        self._n_updates: dict[str, int] = {}
        self._told: set[str] = set()

    def watch(self, passes: Mapping[str, Pass]) -> dict[str, float]:
        """Takes down an update, full model first; returns the share of each level that now starves, once."""
        full, *sparser = passes
        for level, found in passes.items():
            count = self._n_updates[level] = self._n_updates.get(level, 0) + 1
            weight = max(1 - SMOOTHING, 1 / count)
            before = self._norms.get(level, 0.0)
            self._norms[level] = before + weight * (found.gradient_norm - before)
        starving = {
            level: self._norms[level] / self._norms[full]
            for level in sparser
            if level not in self._told
            and self._n_updates[level] >= PATIENCE
            and self._norms[level] < LEAST_SHARE * self._norms[full]
        }
        self._told.update(starving)
        return starving
