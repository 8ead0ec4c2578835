"""Levels that have no name: stops between the named ones, asked for by their sparsity."""

from dataclasses import replace
from typing import Final

from sparrot.model_file.counts import Network
from sparrot.model_file.description import FileDescription, LevelDescription

SPARSITY: Final = "sparsity="


def level_of_sparsity(name: str, file: FileDescription, n_stops: int) -> LevelDescription:
    """The level at the sparsest stop, of the first `n_stops`, that is not sparser than `sparsity=…` asks.

    If it has no name it is called `name`. Its penalties are those of the next denser level, and it has no
    targets and no accuracies. Its sparsity by layer type is exact where blocks are of one size; else it
    shares out the weights that smaller blocks at the edges leave open.

    Raises: ValueError if that is no share, or every stop is sparser.
    """
    asked = _share(name)
    stops = file.stops[:n_stops]
    found = next((k for k, stop in enumerate(stops) if stop.overall_sparsity <= asked), None)
    if found is None:
        raise ValueError(
            f"no stop is as dense as `{name}`: the densest one drops {stops[-1].overall_sparsity:.4g} of the "
            f"parameters"
        )
    denser = min((level for level in file.levels if level.stop >= found), key=lambda level: level.stop)
    if denser.stop == found:
        return denser
    network = Network.of(file.model.architecture, file.matrices)
    return replace(
        denser,
        name=name,
        stop=found,
        targets={},
        sparsity=_sparsity(network, file, found),
        overall_sparsity=stops[found].overall_sparsity,
        parameters=_kept(network, file, found),
        measured={},
    )


def _share(name: str) -> float:
    try:
        asked = float(name.removeprefix(SPARSITY))
    except ValueError:
        asked = -1.0
    if not 0 <= asked <= 1:
        raise ValueError(f"`{name}` asks for no sparsity: write a share from 0 to 1, as in `{SPARSITY}0.8`")
    return asked


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
