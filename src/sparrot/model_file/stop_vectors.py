"""Vectors that differ by level, at every stop: between two levels they are interpolated."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sparrot.model_file.packing import Parameters


def vectors_by_stop(
    of_levels: Sequence[Parameters], ends: Sequence[int], sparsities: Sequence[float]
) -> list[Parameters]:
    """The vectors of every stop: a level's own, and between two levels linear in overall sparsity.

        v = (1 − t) · v_denser + t · v_sparser,   t = (s − s_denser) / (s_sparser − s_denser)

    of_levels:  vectors of each level, sparsest first, which end at the stops `ends`.
    sparsities: overall sparsity of every stop.
    """
    stops = [of_levels[0]]
    for (sparser, denser), (begin, end) in zip(pairwise(of_levels), pairwise(ends), strict=True):
        for stop in range(begin + 1, end):
            share = (sparsities[stop] - sparsities[end]) / (sparsities[begin] - sparsities[end])
            stops.append(_between(denser, sparser, share))
        stops.append(denser)
    return stops


def _between(denser: Parameters, sparser: Parameters, share: float) -> Parameters:
    return {
        name: ((1 - share) * values.astype(np.float64) + share * sparser[name]).astype(np.float32)
        for name, values in denser.items()
    }
