"""Levels that have no name: stops between the named ones, asked for by their sparsity."""

from dataclasses import replace
from itertools import count
from typing import TypeAlias

from sparrot.model_file.counts import Network
from sparrot.model_file.description import FileDescription, LevelDescription

Level: TypeAlias = str | float  # by its name, or by the share of the parameters that are dropped


def sparsity_asked_for(level: Level) -> float | None:
    """The share that is meant by a number from 0 to 1, written or not; None if it is no such number."""
    try:
        share = float(level)
    except ValueError:
        return None
    return share if 0.0 <= share <= 1.0 else None


def stop_of_sparsity(share: float, file: FileDescription, n_stops: int) -> int:
    """The stop whose overall sparsity is nearest; of two equally near, the denser.

    n_stops: that are there. Raises ValueError if the nearest was cut off.
    """
    found = _nearest(share, file)
    if found >= n_stops:
        raise ValueError(
            f"the stop nearest to a sparsity of {share:g} was cut off: of what is left the densest drops "
            f"{file.stops[n_stops - 1].overall_sparsity:.4g} of the parameters"
        )
    return found


def name_of_stop(stop: int, file: FileDescription) -> str:
    """That of its level; of one that has none its sparsity, in as many digits as tell it from the others."""
    named = {level.stop: level.name for level in file.levels}
    if stop in named:
        return named[stop]
    names = (f"{file.stops[stop].overall_sparsity:.{digits}f}" for digits in count(2))
    return next(name for name in names if name not in named.values() and _nearest(float(name), file) == stop)


def level_at(stop: int, file: FileDescription) -> LevelDescription:
    """The level that ends at a stop.

    One that has no name takes its penalties from the next denser level, and has no targets and no
    accuracies. Its sparsity by layer type is exact where blocks are of one size; else it shares out the
    weights that smaller blocks at the edges leave open.
    """
    denser = min((level for level in file.levels if level.stop >= stop), key=lambda level: level.stop)
    if denser.stop == stop:
        return denser
    network = Network.of(file.model.architecture, file.matrices)
    return replace(
        denser,
        name=name_of_stop(stop, file),
        stop=stop,
        targets={},
        sparsity=_sparsity(network, file, stop),
        overall_sparsity=file.stops[stop].overall_sparsity,
        parameters=_kept(network, file, stop),
        measured={},
    )


def _nearest(share: float, file: FileDescription) -> int:
    distances = [abs(stop.overall_sparsity - share) for stop in file.stops]
    nearest = min(distances)
    return max(k for k, distance in enumerate(distances) if distance == nearest)


def _kept(network: Network, file: FileDescription, stop: int) -> int:
    return round((1 - file.stops[stop].overall_sparsity) * network.n_parameters)


def _sparsity(network: Network, file: FileDescription, stop: int) -> dict[str, float]:
    blocks = file.stops[stop].blocks
    fewest, most = network.in_blocks(blocks)
    open_share = (_kept(network, file, stop) - network.n_vector_values - fewest) / max(1, most - fewest)
    found = {}
    for kind, n_weights in network.weights.items():
        least, greatest = network.in_blocks(blocks, kind)
        found[kind] = 1 - (least + open_share * (greatest - least)) / n_weights
    return found
