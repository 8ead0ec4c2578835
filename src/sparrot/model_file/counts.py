"""The counts of a description: parameters, sparsities and blocks must tell the same of every level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Final

from sparrot.architecture import AnyArchitecture
from sparrot.model_file.description import LevelDescription, Stop
from sparrot.model_file.errors import FormatError
from sparrot.model_file.fields import HEADER_OFFSET
from sparrot.model_file.layout import MatrixLayout

ROUNDING: Final = 2.0**-51  # of 1 − kept / total: two roundings of up to 2^-53 each, in the file and here


@dataclass(frozen=True)
class Network:
    """What there is to count: the matrices as they are stored, and the values of all vectors."""

    matrices: Sequence[MatrixLayout]
    n_vector_values: int

    @classmethod
    def of(cls, architecture: AnyArchitecture, matrices: Sequence[MatrixLayout]) -> "Network":
        """That of an architecture."""
        return cls(matrices, sum(vector.size for vector in architecture.vectors()))

    @cached_property
    def weights(self) -> dict[str, int]:
        """Weights of each layer type."""
        weights: dict[str, int] = {}
        for stored in self.matrices:
            weights[stored.matrix.type] = weights.get(stored.matrix.type, 0) + stored.matrix.size
        return weights

    @property
    def n_parameters(self) -> int:
        """All weights and the values of all vectors."""
        return sum(self.weights.values()) + self.n_vector_values

    def in_blocks(self, blocks: Mapping[str, int], kind: str | None = None) -> tuple[int, int]:
        """The fewest and the most weights, of one type or of all, that a stop with these blocks can hold."""
        bounds = [
            weights_in_blocks(stored, blocks.get(stored.matrix.name, 0))
            for stored in self.matrices
            if kind in (None, stored.matrix.type)
        ]
        return sum(fewest for fewest, _ in bounds), sum(most for _, most in bounds)


def weights_in_blocks(stored: MatrixLayout, n_blocks: int) -> tuple[int, int]:
    """The fewest and the most weights in that many blocks of a matrix; all of them where none is pruned.

    They differ where blocks at the edges are smaller.
    """
    matrix = stored.matrix
    if stored.block is None:
        return matrix.size, matrix.size
    heights = _sides(matrix.rows // matrix.gates, stored.block[0])
    widths = _sides(matrix.columns, stored.block[1])
    sizes = sorted((h * w, matrix.gates * nh * nw) for (h, nh), (w, nw) in product(heights, widths))
    return _weights_of(n_blocks, sizes), _weights_of(n_blocks, sizes[::-1])


def check_counts(network: Network, stops: Sequence[Stop], levels: Sequence[LevelDescription]) -> None:
    """Nothing. Raises FormatError unless the counts of all levels and stops agree.

    A level keeps (1 − sparsity) · weights of each type, a whole number that the blocks of its stop can hold.
    With the vectors these are its parameters, (1 − overall sparsity) · total.
    """
    for i, level in enumerate(levels):
        kept = _kept(level, f"levels[{i}]", network)
        n_kept = sum(kept.values()) + network.n_vector_values
        if level.parameters != n_kept:
            raise _refused(f"levels[{i}].parameters", f"is {level.parameters}; its sparsities leave {n_kept}")
        stop, total = stops[level.stop], network.n_parameters
        if not _agree(stop.overall_sparsity, n_kept, total):
            raise _refused(
                f"stops[{level.stop}].overall_sparsity",
                f"is {stop.overall_sparsity}; `{level.name}` keeps {n_kept} of {total} parameters",
            )
        for kind, n in kept.items():
            fewest, most = network.in_blocks(stop.blocks, kind)
            if not fewest <= n <= most:
                raise _refused(
                    f"stops[{level.stop}].blocks",
                    f"hold {fewest} to {most} weights of type `{kind}`; `{level.name}` keeps {n}",
                )
    for i, stop in enumerate(stops):
        _check_stop(stop, f"stops[{i}]", network)


def _kept(level: LevelDescription, where: str, network: Network) -> dict[str, int]:
    """Weights that a level keeps of each type."""
    if set(level.sparsity) != set(network.weights):
        types = ", ".join(sorted(network.weights))
        raise _refused(f"{where}.sparsity", f"has other layer types than the architecture, {types}")
    kept = {}
    for kind, n_weights in network.weights.items():
        kept[kind] = _left(level.sparsity[kind], n_weights)
        if not _agree(level.sparsity[kind], kept[kind], n_weights):
            told = f"is {level.sparsity[kind]} of the {n_weights} weights, which is no whole number"
            raise _refused(f"{where}.sparsity.{kind}", told)
    return kept


def _check_stop(stop: Stop, where: str, network: Network) -> None:
    """Nothing. Raises FormatError unless a stop's blocks can hold the parameters that it keeps."""
    total = network.n_parameters
    n_kept = _left(stop.overall_sparsity, total)
    fewest, most = (n + network.n_vector_values for n in network.in_blocks(stop.blocks))
    if not fewest <= n_kept <= most or not _agree(stop.overall_sparsity, n_kept, total):
        raise _refused(
            f"{where}.overall_sparsity",
            f"is {stop.overall_sparsity}; its blocks keep {fewest} to {most} of {total} parameters",
        )


def _left(sparsity: float, total: int) -> int:
    """The nearest whole number to (1 − sparsity) · total, which may be beyond floats."""
    dropped, whole = sparsity.as_integer_ratio()
    return (2 * (whole - dropped) * total + whole) // (2 * whole)


def _agree(sparsity: float, kept: int, total: int) -> bool:
    return abs(sparsity - (1 - kept / total)) <= ROUNDING


def _sides(length: int, side: int) -> list[tuple[int, int]]:
    """The lengths of the blocks along one side of a gate, and how many have each."""
    whole, rest = divmod(length, side)
    return [(n, count) for n, count in ((side, whole), (rest, 1)) if n * count > 0]


def _weights_of(n_blocks: int, sizes: Sequence[tuple[int, int]]) -> int:
    """Weights of that many blocks, taken from (size, count) in order."""
    n_weights = 0
    for size, count in sizes:
        taken = min(n_blocks, count)
        n_weights += taken * size
        n_blocks -= taken
    return n_weights


def _refused(field: str, fact: str) -> FormatError:
    return FormatError(f"`{field}` {fact}", field, HEADER_OFFSET)
