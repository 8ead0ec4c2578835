"""From which sparsity on a sparse product is faster than our own dense one."""

from collections.abc import Iterator, Sequence
from typing import Any

from products.times import Times
from products.weights import BREAK_EVEN, TYPES


def rows(times: Times) -> Iterator[dict[str, Any]]:
    """One row for each shape, batch and type."""
    for case in times.cases:
        if case.contest != "break-even":
            continue
        for number in TYPES:
            raced = times.of(case)
            dense = raced.own_dense(number)
            sparse = [(s, seconds) for s in BREAK_EVEN if (seconds := raced.own(number, s)) is not None]
            if dense is None or not sparse:
                continue
            yield {
                "method": "sparrot",
                "set": case.shape,
                "level": "",
                "metric": f"kernels.break_even.{number}.b{case.batch}",
                "value": crossing(sparse, dense),
                "unit": "",
                "spread": None,
                "threads": 1,
            }


def crossing(sparse: Sequence[tuple[float, float]], dense: float) -> float | None:
    """The sparsity at which a line through the two times around `dense` meets it.

    sparse: sparsity and seconds, rising in sparsity. Beyond either end the nearest two are continued; None if
    no sparsity below 1 is enough.
    """
    below = next((i for i, (_, seconds) in enumerate(sparse) if seconds <= dense), len(sparse) - 1)
    (s0, t0), (s1, t1) = sparse[max(below, 1) - 1], sparse[max(below, 1)]
    if t0 <= t1:
        return None if dense < min(t0, t1) else s0
    found = s0 + (t0 - dense) / (t0 - t1) * (s1 - s0)
    return max(0.0, found) if found < 1 else None
