"""What the sparse products promise, each as a ratio of times of one run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from products import limits
from products.rounds import Case
from products.times import Times, ratio
from products.weights import LARGE, LEVELS, MODEL_NAME, SHAPES, SQUARE, TYPES, draw, named
from sparrot.bench.rivals.contestant import Type
from sparrot.report.results import UNEXPLAINED, Goal

ANY: tuple[Type, ...] = ("fp32", "bf16", "int8", "int4")
FP32: tuple[Type, ...] = ("fp32",)
LEVEL_NAMES = {0.9: "small", 0.7: "medium", 0.0: "large"}
Measure = Callable[[Times], float | None]


@dataclass(frozen=True)
class Target:
    """A goal before it is measured. measure: None where its contest was not run."""

    name: str
    required: float
    measure: Measure
    better: Literal["higher", "lower"] = "higher"
    unit: str = "x"


def targets() -> Iterator[Target]:
    """Every promise."""
    for batch, least in ((1, 1.15), (4, 1.15), (16, 1.05), (64, 1.0)):
        case = Case("hot", named(SQUARE), batch)
        yield Target(f"kernels.fp32.hot.b{batch}", least / 0.1, partial(faster, case, FP32, "fp32", 0.9))
    case = Case("hot", named(LARGE), 1)
    yield Target("kernels.fp32.large.b1", 2.6 / 0.1, partial(faster, case, FP32, "fp32", 0.9))
    yield from _of_the_model()
    for shape, sparsities in SHAPES.items():
        for batch in (16, 64):
            if 0.9 in sparsities:
                measure = partial(faster, Case("hot", named(shape), batch), ANY, "int8", 0.9)
                yield Target(f"kernels.int8.batch.{named(shape)}.b{batch}", 7.5, measure)
    for batch in (1, 4, 16, 64):
        measure = partial(faster_than_sparse, Case("hot", named(SQUARE), batch), "")
        yield Target(f"kernels.fp32.vs_sparse.b{batch}", 3.8, measure)
    measure = partial(faster_than_sparse, Case("hot", named(SQUARE), 64), "DeepSparse")
    yield Target("kernels.deepsparse.b64", 1.0, measure)
    yield Target("kernels.efficiency.fp32.b1", 82, share_of_reading, unit="%")
    for number, least in (("fp32", 93), ("bf16", 90), ("int8", 80)):
        yield Target(f"kernels.efficiency.{number}.b64", least, partial(share_of_peak, number), unit="%")
    for number in TYPES:
        for level in LEVELS:
            name = f"kernels.level_major.{number}.{LEVEL_NAMES[level]}"
            yield Target(name, 1.15, partial(level_major, number, level), better="lower")
    yield Target("kernels.dense_level.b1", 1.25, dense_level)


def _of_the_model() -> Iterator[Target]:
    case = Case("model", MODEL_NAME, 1)
    required = {
        "fp32": {0.7: 1.25, 0.9: 1.5, 0.95: 1.6},
        "bf16": {0.7: 1.9, 0.9: 2.8},
        "int8": {0.7: 4.0, 0.9: 7.5},
    }
    numbers: tuple[Type, ...] = TYPES
    for number in numbers:
        for sparsity, least in required[number].items():
            measure = partial(faster, case, FP32, number, sparsity)
            name = f"kernels.model.{number}.s{100 * sparsity:.0f}"
            yield Target(name, round(least / (1 - sparsity), 2), measure)
    for sparsity, least in ((0.7, 2.5), (0.9, 13.0)):
        measure = partial(faster, case, ANY, "int8", sparsity)
        yield Target(f"kernels.model.int8.vs_any.s{100 * sparsity:.0f}", least, measure)


def faster(case: Case, types: tuple[Type, ...], number: Type, sparsity: float, times: Times) -> float | None:
    """How many times as fast ours is as the best dense rival of some types."""
    raced = times.of(case)
    return ratio(raced.best_dense(types), raced.own(number, sparsity))


def faster_than_sparse(case: Case, names: str, times: Times) -> float | None:
    """How many times as fast ours is at 90 % as a sparse rival; DeepSparse is looked at only by name."""
    raced = times.of(case)
    if not names:
        others = tuple(t for t in raced.timings if not t.name.startswith("DeepSparse"))
        raced = Times(others, raced.statistic)
    return ratio(raced.best_sparse(0.9, names), raced.own("fp32", 0.9))


def share_of_reading(times: Times) -> float | None:
    """What a product at batch 1 reads in a second, in per cent of reading as many bytes in sequence."""
    raced = times.of(Case("efficiency", named(SQUARE), 1))
    found = ratio(raced.limit("reading", "fp32"), raced.own("fp32", 0.9))
    return None if found is None else 100 * found


def share_of_peak(number: Type, times: Times) -> float | None:
    """Operations a second at batch 64, in per cent of what registers can do."""
    raced = times.of(Case("efficiency", named(SQUARE), 64))
    found = ratio(raced.limit("multiplying", number), raced.own(number, 0.9))
    limit = None if found is None else limits.multiplying(number)
    if found is None or limit is None:
        return None
    kept = round(0.1 * draw(SQUARE).order.size) * 16
    return 100 * found * 2 * 64 * kept / limit.amount


def level_major(number: Type, level: float, times: Times) -> float | None:
    """Seconds of a level in segments over those of its own matrix: the worst of all shapes and batches."""
    ratios = [
        ratio(raced.own(number, level, "level-major"), raced.own(number, level, "separate"))
        for raced in (times.of(case) for case in times.cases if case.contest == "levels")
    ]
    return max((found for found in ratios if found is not None), default=None)


def dense_level(times: Times) -> float | None:
    """How many times as fast the level without sparsity is, as segments, as the best dense float32."""
    raced = times.of(Case("model", MODEL_NAME, 1))
    return ratio(raced.best_dense(FP32), raced.own("fp32", 0.0, "level-major"))


def measured(times: Times, why: Mapping[str, str]) -> tuple[list[Goal], list[dict[str, Any]]]:
    """The goals whose contests were run, and a row for each."""
    goals, rows = [], []
    for target in targets():
        value = target.measure(times)
        if value is None:
            continue
        reason = why.get(target.name, UNEXPLAINED)
        goals.append(Goal(target.name, target.required, value, target.better, target.unit, reason))
        rows.append(_row(target, value, target.measure(times.by_median())))
    return goals, rows


def _row(target: Target, value: float, by_median: float | None) -> dict[str, Any]:
    return {
        "method": "sparrot",
        "set": "goal",
        "level": "",
        "metric": target.name,
        "value": value,
        "unit": target.unit,
        "spread": None if by_median is None else abs(by_median - value),
        "by_median": by_median,
        "threads": 1,
    }
