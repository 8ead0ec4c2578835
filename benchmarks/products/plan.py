"""Which contests are run, and how much of each in a quick look."""

from collections.abc import Callable, Iterator
from typing import Any

from products import contests, storage
from products.rounds import Timing
from products.weights import ENCODER, GRU, SHAPES, SQUARE

BATCHES = (1, 4, 16, 64)
FIGURE_BATCHES = (1, 2, 4, 8, 16, 32, 64)
FIGURES = {SQUARE: 0.9, GRU: 0.95}


def hot(n_rounds: int, *, quick: bool) -> Iterator[Timing]:
    """The shapes, one after another."""
    for shape, sparsities in SHAPES.items():
        if not quick or shape == SQUARE:
            yield from contests.hot(shape, sparsities, (1, 64) if quick else BATCHES, n_rounds)


def model(n_rounds: int, *, quick: bool) -> Iterator[Timing]:
    """The whole model, which takes minutes to prepare."""
    if not quick:
        yield from contests.model(n_rounds)


def efficiency(n_rounds: int, *, quick: bool) -> Iterator[Timing]:
    """Ours against the processor."""
    del quick
    yield from contests.efficiency(n_rounds)


def levels(n_rounds: int, *, quick: bool) -> Iterator[Timing]:
    """A small and a large matrix."""
    for shape in (SQUARE,) if quick else (SQUARE, ENCODER):
        yield from contests.levels(shape, (1,) if quick else (1, 16), n_rounds)


def break_evens(n_rounds: int, *, quick: bool) -> Iterator[Timing]:
    """Every shape."""
    for shape in (SQUARE,) if quick else SHAPES:
        yield from contests.break_even(shape, (1, 64) if quick else BATCHES, n_rounds)


def figure(n_rounds: int, *, quick: bool) -> Iterator[Timing]:
    """Both matrices of the published figure."""
    if not quick:
        for shape, sparsity in FIGURES.items():
            yield from contests.figure(shape, sparsity, FIGURE_BATCHES, n_rounds)


CONTESTS: dict[str, Callable[..., Iterator[Timing]]] = {
    "hot": hot,
    "efficiency": efficiency,
    "levels": levels,
    "break-even": break_evens,
    "model": model,
    "figure": figure,
}


def storage_rows() -> Iterator[dict[str, Any]]:
    """Bytes of matrices, which are counted and not timed."""
    yield from storage.rows()
