"""The times of all contests, looked up by what was multiplied and who did it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from products.own import DENSE, OWN
from products.rounds import Case, Timing
from products.weights import STRIP, named
from sparrot.bench.rivals.contestant import Type

STRIPS = named(STRIP)


@dataclass(frozen=True)
class Times:
    """Times of passes, either the least of each contestant or its median over rounds."""

    timings: tuple[Timing, ...]
    statistic: Literal["seconds", "median"] = "seconds"

    def by_median(self) -> "Times":
        """The same ones, by their medians."""
        return replace(self, statistic="median")

    def of(self, case: Case) -> "Times":
        """Those of one race."""
        return replace(self, timings=tuple(t for t in self.timings if t.case == case))

    @property
    def cases(self) -> Iterator[Case]:
        """Every race, in order."""
        yield from dict.fromkeys(timing.case for timing in self.timings)

    def best_dense(self, types: Iterable[Type]) -> float | None:
        """Of the dense rivals of these types, the fastest."""
        return self._least(
            t
            for t in self.timings
            if t.kind == "dense" and t.type in types and not is_own(t) and not is_limit(t)
        )

    def best_sparse(self, sparsity: float, names: str = "") -> float | None:
        """Of the sparse rivals whose name begins so, the fastest at a sparsity, in blocks of any shape."""
        return self._least(
            t
            for t in self.timings
            if t.kind == "sparse" and not is_own(t) and t.sparsity == sparsity and t.name.startswith(names)
        )

    def own(self, number: Type, sparsity: float, note: str = "", block: str = STRIPS) -> float | None:
        """Ours: strips of 16 × 1 unless another block is named."""
        name = f"{OWN}, {note}" if note else OWN
        return self._least(
            t
            for t in self.timings
            if (t.name, t.type, t.sparsity, t.block) == (name, number, sparsity, block)
        )

    def own_dense(self, number: Type) -> float | None:
        """Ours without any sparsity, in dense16."""
        return self._least(t for t in self.timings if (t.name, t.type) == (f"{OWN}, {DENSE}", number))

    def limit(self, name: str, number: Type) -> float | None:
        """A limit of the processor."""
        return self._least(t for t in self.timings if (t.name, t.type) == (f"limit, {name}", number))

    def _least(self, timings: Iterable[Timing]) -> float | None:
        return min((getattr(timing, self.statistic) for timing in timings), default=None)


def is_own(timing: Timing) -> bool:
    """Whether it is one of this project's."""
    return timing.name.split(",")[0] == OWN


def is_limit(timing: Timing) -> bool:
    """Whether it is a limit of the processor, no product."""
    return timing.name.startswith("limit, ")


def ratio(above: float | None, below: float | None) -> float | None:
    """How often `below` goes into `above`; None if one of them is missing."""
    return None if above is None or below is None else above / below
