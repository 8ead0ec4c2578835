"""Contestants that take turns, round after round, in one process."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from sparrot.bench.rivals.contestant import Contestant, Kind, Problem, Type

TURN_S = 0.010  # of work in each turn of a contestant, if one pass takes no longer
MOST_PASSES = 200
Passes: TypeAlias = list[list[float]]  # seconds of each part of each pass

PAUSE_S = 0.010  # after a contestant whose threads may still spin


@dataclass(frozen=True)
class Case:
    """What is multiplied. contest: the race it is part of; shape: `1760×1760`, or the name of a model."""

    contest: str
    shape: str
    batch: int


@dataclass(frozen=True, eq=False)
class Entry:
    """A contestant, the problem it solves, and the sparsity and block of that problem."""

    contestant: Contestant
    problem: Problem
    sparsity: float
    block: str


@dataclass(frozen=True)
class Timing:
    """Seconds of one pass of one contestant: the least of each part, summed, and the median over rounds.

    A step through a whole model takes so long that hardly any is left in peace on a machine that others use.
    """

    case: Case
    name: str
    kind: Kind
    type: Type
    sparsity: float
    block: str
    seconds: float
    median: float


def race(case: Case, entries: Sequence[Entry], n_rounds: int) -> list[Timing]:
    """Checks the results of every contestant, then times all of them in turn."""
    print(f"{case.contest}: {case.shape}, batch {case.batch}, {len(entries)} contestants", file=sys.stderr)
    turns = []
    for entry in entries:
        entry.contestant.run(1)
        try:
            entry.contestant.check(entry.problem)
        except ValueError as error:
            raise SystemExit(f"{error}; nothing was timed") from None
        turns.append(min(MOST_PASSES, 1 + int(TURN_S / sum(entry.contestant.run(1)[0]))))
    rounds: list[list[Passes]] = [[] for _ in entries]
    for number in range(n_rounds):
        for place in _turned(len(entries), number):
            rounds[place].append(_turn(entries[place].contestant, turns[place]))
    return [_timing(case, entry, found) for entry, found in zip(entries, rounds, strict=True)]


def _turned(n: int, number: int) -> list[int]:
    """Places 0 … n − 1, each round beginning with another."""
    begin = number * 7 % n
    return [*range(begin, n), *range(begin)]


def _turn(contestant: Contestant, n_passes: int) -> Passes:
    """Seconds of passes, the first of which brings the matrices back and does not count."""
    seconds = contestant.run(n_passes + 1)[1:]
    if contestant.spins:
        time.sleep(PAUSE_S)
    return seconds


def _timing(case: Case, entry: Entry, rounds: Sequence[Passes]) -> Timing:
    one = entry.contestant
    parts = zip(*(seconds for passes in rounds for seconds in passes), strict=True)
    least = sum(map(min, parts))
    middle = median(median(map(sum, passes)) for passes in rounds)
    return Timing(case, one.name, one.kind, one.type, entry.sparsity, entry.block, least, middle)
