"""Starting a wide network from a trained narrow one, as Net2Net does (Chen, Goodfellow & Shlens 2016).

A layer k times as wide holds every unit of the narrow one k times. What a unit feeds gets the first copy's
output times 1 − (k − 1) · SHARE and that of each other copy times SHARE, so that the sum is what it was. The
published shares are equal. Ours leave the other copies little to do: they are free to learn something else,
and a sparse level drops them first, so that it begins where the narrow network was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import torch
from torch import Tensor

from sparrot.architecture import (
    AnyArchitecture,
    Architecture,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    Transducer,
    Window,
)

SHARE: Final = 0.1  # of each copy after the first
NOISE: Final = 0.2  # of the weights into such a copy, times the root mean square of the narrow matrix

State: TypeAlias = Mapping[str, Tensor]
Units: TypeAlias = tuple[
    int, int
]  # side by side in the narrow network, and how often the wide one holds them


def can_widen(narrow: AnyArchitecture, wide: AnyArchitecture) -> bool:
    """Whether a network is another whose recurrent, linear and embedding layers are whole times as wide.

    Projected and summed recurrent layers, convolutions and batch norm must be, and be fed, as they were.
    """
    if narrow.n_tokens != wide.n_tokens:
        return False
    if isinstance(narrow, Transducer) and isinstance(wide, Transducer):
        heard = _widened_units(narrow.encoder, wide.encoder)
        said = _widened_units(narrow.predictor, wide.predictor)
        return heard is not None and said is not None and heard[-1][1] == said[-1][1]
    if isinstance(narrow, Architecture) and isinstance(wide, Architecture):
        return _widened_units(narrow, wide) is not None
    return False


def widened(
    state: State,
    narrow: AnyArchitecture,
    wide: AnyArchitecture,
    random: torch.Generator,
    noise: float = NOISE,
) -> dict[str, Tensor]:
    """The state of a wide network, from that of a narrow one; without noise they compute the same.

    random: draws what is added to the weights into copies.
    Raises: ValueError unless `can_widen`.
    """
    if not can_widen(narrow, wide):
        raise ValueError("a network is widened into one whose layers are the same and whole times as wide")
    widen = _Widening(random, noise)
    if isinstance(narrow, Architecture):
        assert isinstance(wide, Architecture)
        return dict(widen.stack(state, "", narrow, wide))
    assert isinstance(wide, Transducer)
    steps = _widened_units(narrow.encoder, wide.encoder)
    assert steps is not None
    joint = steps[-1][1]
    made = dict(widen.stack(state, "encoder.", narrow.encoder, wide.encoder))
    made |= widen.stack(state, "predictor.", narrow.predictor, wide.predictor)
    for name in ("output", "ctc"):
        if f"{name}.weight" in state:
            made[f"{name}.weight"] = widen.fed(state[f"{name}.weight"], joint)
            made[f"{name}.bias"] = state[f"{name}.bias"]
    return made


class _Widening:
    """What becomes of the parameters of each layer."""

    def __init__(self, random: torch.Generator, noise: float) -> None:
        self.random, self.noise = random, noise

    def stack(
        self, state: State, prefix: str, narrow: Architecture, wide: Architecture
    ) -> Iterator[tuple[str, Tensor]]:
        """Of layer after layer, by the names of a `LayerStack`."""
        steps = _widened_units(narrow, wide)
        assert steps is not None
        for layer, (given, made) in zip(narrow.layers, steps, strict=True):
            start = f"{prefix}layers.{layer.name}."
            for name, value in state.items():
                if name.startswith(start):
                    yield name, self._parameter(layer, name.removeprefix(start), value, given, made)

    def fed(self, matrix: Tensor, given: Units) -> Tensor:
        """A matrix whose columns are fed by copies."""
        units, copies = given
        if copies == 1:
            return matrix
        shares = matrix.new_full((copies, 1), SHARE)
        shares[0] = 1.0 - (copies - 1) * SHARE
        fed: Tensor = matrix.unflatten(1, (-1, 1, units)) * shares
        return fed.flatten(1)

    def _parameter(self, layer: Layer, part: str, value: Tensor, given: Units, made: Units) -> Tensor:
        if isinstance(layer, Embedding):
            return self._copied(value.T, made).T.contiguous()
        if value.dim() == 1:
            return self._copied(value, made)
        within = part.rpartition(".")[2].startswith("weight_hh")
        return self.fed(self._copied(value, made), made if within else given)

    def _copied(self, rows: Tensor, made: Units) -> Tensor:
        """Rows, or values, once for every copy, gate by gate; matrices with noise in all but the first."""
        units, copies = made
        if copies == 1:
            return rows
        repeated: Tensor = rows.unflatten(0, (-1, 1, units)).repeat(1, copies, *[1] * rows.dim())
        if rows.dim() == 2:
            scale = self.noise * rows.square().mean().sqrt()
            drawn = torch.randn(repeated[:, 1:].shape, generator=self.random, dtype=rows.dtype)
            repeated[:, 1:] += scale * drawn
        return repeated.flatten(0, 2)


def _widened_units(narrow: Architecture, wide: Architecture) -> list[tuple[Units, Units]] | None:
    """What every layer is given and makes; None if a layer cannot be widened so."""
    if narrow.input_width != wide.input_width or len(narrow.layers) != len(wide.layers):
        return None
    units: Units = (narrow.input_width, 1)
    steps: list[tuple[Units, Units]] = []
    for old, new in zip(narrow.layers, wide.layers, strict=True):
        copies = _copies(old, new)
        if copies is None or (units[1] > 1 and not _takes_copies(old)):
            return None
        given = units
        if isinstance(old, Recurrent | Linear | Embedding):
            units = _width(old), copies
        elif not isinstance(old, LayerNorm | Window):
            units = 1, 1
        steps.append((given, units))
    return steps


def _takes_copies(layer: Layer) -> bool:
    """Whether it may be fed with every unit several times."""
    if isinstance(layer, Recurrent):
        return layer.projection is None
    return isinstance(layer, Linear | LayerNorm | Window)


def _copies(old: Layer, new: Layer) -> int | None:
    """How many times as wide the second layer is; None if it is otherwise another."""
    if old == new:
        return 1
    if isinstance(old, Recurrent) and isinstance(new, Recurrent) and old.projection is None:
        alike = replace(new, cells=old.cells) == old
    elif isinstance(old, Linear | Embedding) and isinstance(new, Linear | Embedding):
        alike = replace(new, size=old.size) == old
    else:
        return None
    copies, rest = divmod(_width(new), _width(old))
    return copies if alike and rest == 0 else None


def _width(layer: Recurrent | Linear | Embedding) -> int:
    return layer.cells if isinstance(layer, Recurrent) else layer.size
