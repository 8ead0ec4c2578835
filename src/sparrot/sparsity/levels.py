"""Named sparsity configurations of one model."""

import difflib
import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

Level: TypeAlias = str | float  # by its name, or a point between two named ones (see `Path`)


class Levels(Mapping[str, Mapping[str, float]]):
    """Level name → {layer type: sparsity}, densest first; a type that is not named is dense.

        Levels(large={}, medium={"lstm": 0.7}, small={"lstm": 0.9, "fc": 0.5})

    The first level is the full model. Levels are nested when no type gets denser from one level to
    the next; `require_nested` says which one does not. Immutable.
    """

    def __init__(self, /, **targets: Mapping[str, float]) -> None:
        if not targets or any(next(iter(targets.values())).values()):
            raise ValueError(
                "the first level is the full model: write it without targets, as in `Levels(large={}, …)`"
            )
        for level, by_type in targets.items():
            for kind, sparsity in by_type.items():
                if not 0.0 <= sparsity < 1.0:
                    raise ValueError(
                        f"level `{level}` asks for {kind} sparsity {sparsity}; a sparsity is at least 0 and "
                        "below 1, which would leave nothing of the layer"
                    )
        self._targets = {level: MappingProxyType(dict(by_type)) for level, by_type in targets.items()}

    def __getitem__(self, level: str) -> Mapping[str, float]:
        return self._targets[level]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        return f"Levels({', '.join(f'{name}={dict(targets)}' for name, targets in self._targets.items())})"

    @property
    def full(self) -> str:
        """The name of the full model's level."""
        return next(iter(self._targets))

    @property
    def sparse(self) -> tuple[str, ...]:
        """The other levels, densest first."""
        return tuple(self._targets)[1:]

    @property
    def types(self) -> tuple[str, ...]:
        """Every layer type that some level prunes, in order of first mention."""
        return tuple(dict.fromkeys(kind for targets in self._targets.values() for kind in targets))

    def require(self, level: str) -> None:
        """Raises ValueError, with the nearest name, for a level that is not there."""
        if level not in self._targets:
            near = difflib.get_close_matches(str(level), self._targets, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"no level `{level}`: there are {', '.join(self._targets)}.{hint}")

    def require_nested(self) -> None:
        """Raises ValueError if a level is denser in some type than the level before it."""
        for denser, sparser in itertools.pairwise(self._targets):
            for kind in self.types:
                before, after = self[denser].get(kind, 0.0), self[sparser].get(kind, 0.0)
                if after < before:
                    raise ValueError(
                        f"levels `{denser}` and `{sparser}` cross: {kind} goes from {before} down to {after}."
                        " Nested levels list every type in rising sparsity; independent masks "
                        "(`nested=False`) may cross."
                    )
