"""Who races whom: one function a contest, each giving the times of all its contestants."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from products import limits, own
from products.rounds import Case, Entry, Timing, race
from products.weights import (
    BREAK_EVEN,
    LEVELS,
    MODEL,
    MODEL_NAME,
    MODEL_SPARSITIES,
    SQUARE,
    STRIP,
    TYPES,
    Shape,
    Weights,
    draw,
    named,
    problem,
)
from sparrot import _core
from sparrot.bench.rivals import (
    deepsparse,
    mkl,
    numpy_blas,
    onnx_runtime,
    scipy_sparse,
    torch_int8,
    torch_linear,
)
from sparrot.bench.rivals.contestant import Contestant, Problem

SPARSE_BATCH = 64  # at which all shapes are compared with DeepSparse
OTHER_BLOCKS: tuple[Shape, ...] = ((4, 4), (8, 8), (16, 16), (32, 32))
FIGURE_LAYOUTS = {(1, 1): "csr", (4, 4): "tile4", (16, 16): "strip16", (32, 32): "strip16", STRIP: "strip16"}


def hot(shape: Shape, sparsities: Sequence[float], batches: Sequence[int], n_rounds: int) -> Iterator[Timing]:
    """One matrix again and again: every dense rival, the sparse ones, and ours in every type."""
    weights = draw(shape)
    ours = [(s, number, own.packed(weights, [s], number).product()) for s in sparsities for number in TYPES]
    dense = [(number, own.packed_dense(weights, number).product()) for number in TYPES]
    for batch in batches:
        whole = problem([weights], 0.0, batch)
        masked = {sparsity: problem([weights], sparsity, batch) for sparsity in sparsities}
        entries = [*_entries(_dense_rivals(whole), whole, 0.0)]
        for sparsity, given in masked.items():
            entries += _entries(
                _sparse_rivals(given, with_deepsparse=_is_wide(shape, batch)), given, sparsity
            )
        entries += [
            Entry(own.contestant([p], masked[s], number), masked[s], s, named(STRIP)) for s, number, p in ours
        ]
        entries += [
            Entry(own.contestant([p], whole, number, own.DENSE), whole, 0.0, "") for number, p in dense
        ]
        if shape == SQUARE:
            entries += _other_blocks(batch)
        yield from race(Case("hot", named(shape), batch), entries, n_rounds)
        del entries, whole, masked
        gc.collect()


def _is_wide(shape: Shape, batch: int) -> bool:
    return shape == SQUARE or batch == SPARSE_BATCH


def _dense_rivals(given: Problem) -> Iterator[Contestant]:
    for rival in (numpy_blas, mkl, torch_linear, torch_int8, onnx_runtime):
        yield from rival.prepare(given)


def _sparse_rivals(given: Problem, *, with_deepsparse: bool) -> Iterator[Contestant]:
    yield from mkl.prepare_sparse(given)
    yield from scipy_sparse.prepare(given)
    if with_deepsparse:
        yield from deepsparse.prepare(given)


def _entries(contestants: Iterable[Contestant], given: Problem, sparsity: float) -> Iterator[Entry]:
    for one in contestants:
        block = named(given.block) if one.kind == "sparse" else ""
        yield Entry(one, given, sparsity if one.kind == "sparse" else 0.0, block)


def _other_blocks(batch: int, sparsity: float = 0.9) -> Iterator[Entry]:
    """The rivals that like other blocks better, at the same sparsity."""
    for block in OTHER_BLOCKS:
        given = problem([draw(SQUARE, block)], sparsity, batch)
        yield from _entries(_sparse_rivals(given, with_deepsparse=False), given, sparsity)


def efficiency(n_rounds: int) -> Iterator[Timing]:
    """Ours at 90 % against the limits of this processor, each in the same rounds."""
    weights, sparsity = draw(SQUARE), 0.9
    for batch, numbers in ((1, TYPES[:1]), (64, TYPES)):
        given = problem([weights], sparsity, batch)
        entries = []
        for number in numbers:
            product = own.packed(weights, [sparsity], number).product()
            entries.append(Entry(own.contestant([product], given, number), given, sparsity, named(STRIP)))
            limit = (
                limits.reading(read_bytes(weights, sparsity)) if batch == 1 else limits.multiplying(number)
            )
            entries += [limit.entry()] if limit else []
        yield from race(Case("efficiency", named(SQUARE), batch), entries, n_rounds)


def read_bytes(weights: Weights, sparsity: float) -> int:
    """Bytes of a float32 matrix in strips of 16 × 1: values, columns and starts."""
    kept = round((1 - sparsity) * weights.order.size)
    return kept * (16 * 4 + 2) + 4 * (len(weights.matrix) // 16 + 1)


def levels(shape: Shape, batches: Sequence[int], n_rounds: int) -> Iterator[Timing]:
    """Every level as segments that are added up, and as one segment of its own; the last in dense16 too."""
    weights = draw(shape)
    for number in TYPES:
        built = []
        for place, level in enumerate(LEVELS, start=1):
            built.append(("level-major", level, own.packed(weights, LEVELS[:place], number).product()))
            built.append(("separate", level, own.packed(weights, [level], number).product()))
        built.append((own.DENSE, 0.0, own.packed_dense(weights, number).product()))
        for batch in batches:
            entries = []
            for note, level, product in built:
                given = problem([weights], level, batch)
                entries.append(
                    Entry(own.contestant([product], given, number, note), given, level, named(STRIP))
                )
            yield from race(Case("levels", named(shape), batch), entries, n_rounds)


def break_even(shape: Shape, batches: Sequence[int], n_rounds: int) -> Iterator[Timing]:
    """Ours at some sparsities beside our dense matrix."""
    weights = draw(shape)
    for number in TYPES:
        built = [(s, "", own.packed(weights, [s], number).product()) for s in BREAK_EVEN]
        built.append((0.0, own.DENSE, own.packed_dense(weights, number).product()))
        for batch in batches:
            entries = []
            for sparsity, note, product in built:
                given = problem([weights], sparsity, batch)
                one = own.contestant([product], given, number, note)
                entries.append(Entry(one, given, sparsity, named(STRIP)))
            yield from race(Case("break-even", named(shape), batch), entries, n_rounds)


def model(n_rounds: int, shapes: Sequence[Shape] = MODEL) -> Iterator[Timing]:
    """One step through all LSTM matrices of a model, at batch 1, again and again.

    What does not fit into the last-level cache as a whole comes from memory each time.
    """
    drawn = {shape: draw(shape) for shape in dict.fromkeys(shapes)}
    weights = [drawn[shape] for shape in shapes]
    whole = problem(weights, 0.0, 1)
    entries = [*_entries(_dense_rivals(whole), whole, 0.0)]
    for sparsity in MODEL_SPARSITIES:
        given = problem(weights, sparsity, 1)
        for number in TYPES:
            products = _each(weights, partial(own.packed, levels=[sparsity], number=number))
            entries.append(Entry(own.contestant(products, given, number), given, sparsity, named(STRIP)))
    for number in TYPES:
        products = _each(weights, partial(own.packed, levels=LEVELS, number=number))
        one = own.contestant(products, whole, number, "level-major")
        entries.append(Entry(one, whole, 0.0, named(STRIP)))
        products = _each(weights, partial(own.packed_dense, number=number))
        dense = own.contestant(products, whole, number, own.DENSE)
        entries.append(Entry(dense, whole, 0.0, ""))
    yield from race(Case("model", MODEL_NAME, 1), entries, n_rounds)


def _each(weights: Sequence[Weights], pack: Callable[[Weights], own.Packed]) -> list[_core.Product]:
    """A product for each matrix; one that occurs twice is packed once and copied."""
    packed: dict[int, own.Packed] = {}
    for given in weights:
        if id(given) not in packed:
            packed[id(given)] = pack(given)
    return [packed[id(given)].product() for given in weights]


def figure(shape: Shape, sparsity: float, batches: Sequence[int], n_rounds: int) -> Iterator[Timing]:
    """Blocks of every shape in float32, ours and the rivals', against dense products."""
    drawn = {block: draw(shape, block) for block in FIGURE_LAYOUTS}
    ours = {
        block: own.packed(drawn[block], [sparsity], "fp32", FIGURE_LAYOUTS[block]).product()
        for block in drawn
    }
    for batch in batches:
        whole = problem([drawn[STRIP]], 0.0, batch)
        dense = [one for one in _dense_rivals(whole) if one.type == "fp32"]
        entries = [*_entries(dense, whole, 0.0)]
        for block, weights in drawn.items():
            given = problem([weights], sparsity, batch)
            entries += _entries(mkl.prepare_sparse(given), given, sparsity)
            one = own.contestant([ours[block]], given, "fp32", FIGURE_LAYOUTS[block])
            entries.append(Entry(one, given, sparsity, named(block)))
        yield from race(Case("figure", named(shape), batch), entries, n_rounds)
