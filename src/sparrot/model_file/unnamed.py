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


def level_of_sparsity(share: float, file: FileDescription, n_stops: int) -> LevelDescription:
    """The level at the stop whose overall sparsity is nearest; of two equally near, the denser.

    If the stop has no name it is called by its sparsity, in as many digits as tell it from the others. Its
    penalties are those of the next denser level, and it has no targets and no accuracies. Its sparsity by
    layer type is exact where blocks are of one size; else it shares out the weights that smaller blocks at
    the edges leave open.

    n_stops: that are there. Raises ValueError if the nearest was cut off.
    """
    found = _nearest(share, file)
    if found >= n_stops:
        raise ValueError(
            f"the stop nearest to a sparsity of {share:g} was cut off: of what is left the densest drops "
            f"{file.stops[n_stops - 1].overall_sparsity:.4g} of the parameters"
        )
    denser = min((level for level in file.levels if level.stop >= found), key=lambda level: level.stop)
    if denser.stop == found:
        return denser
    network = Network.of(file.model.architecture, file.matrices)
    return replace(
        denser,
        name=_name(found, file),
        stop=found,
        targets={},
        sparsity=_sparsity(network, file, found),
        overall_sparsity=file.stops[found].overall_sparsity,
        parameters=_kept(network, file, found),
        measured={},
    )


def _nearest(share: float, file: FileDescription) -> int:
    distances = [abs(stop.overall_sparsity - share) for stop in file.stops]
    return max(k for k, distance in enumerate(distances) if distance == min(distances))


def _name(stop: int, file: FileDescription) -> str:
    """A sparsity that means this stop and is no level's name."""
    taken = {level.name for level in file.levels}
    names = (f"{file.stops[stop].overall_sparsity:.{digits}f}" for digits in count(2))
    return next(name for name in names if name not in taken and _nearest(float(name), file) == stop)


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
