"""Levels that change inside the utterances of a batch."""

from random import Random

from sparrot.nn.switching import Switching
from sparrot.sparsity import DynamicSparsity


def draw_switching(
    sparsity: DynamicSparsity, dwell_s: tuple[float, float], longest_s: float, random: Random
) -> Switching | None:
    """A level after another, never the same twice in a row; None while no level drops anything.

    dwell_s:   shortest and longest time at a level, between which it is drawn evenly.
    longest_s: duration of the longest utterance.
    """
    levels = sparsity.levels
    different = [levels.full, *(level for level in levels.sparse if sparsity.drops(level))]
    if len(different) < 2:
        return None
    drawn, ends = [random.choice(different)], [random.uniform(*dwell_s)]
    while ends[-1] < longest_s:
        drawn.append(random.choice([level for level in different if level != drawn[-1]]))
        ends.append(ends[-1] + random.uniform(*dwell_s))
    shares = [*(end / longest_s for end in ends[:-1]), 1.0]
    return Switching(shares, drawn, {level: sparsity.masked(level) for level in dict.fromkeys(drawn)})
