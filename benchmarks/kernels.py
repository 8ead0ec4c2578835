"""How fast the sparse products are, on one thread, beside every dense and sparse rival.

    python benchmarks/kernels.py --json

Contests, each in one process, its contestants in turn round after round:

- `hot`: one matrix again and again, by shape and batch;
- `model`: one step through all LSTM matrices of `rnnt-122m`, which dense are far larger than any cache;
- `efficiency`: ours against reading in sequence and against multiplying in registers;
- `levels`: three levels as segments that are added up, against matrices packed one by one;
- `break-even`: the sparsity from which ours is faster than our own dense product;
- `figure`, `storage`: figure 2 and table 6 of "Block-sparse recurrent neural networks".

Every result is compared with float64 before anything is timed. A time is the least of all passes; the median
over rounds is beside it. Of a rival that other programs interrupt only the time it computes counts; of ours
all. Goals are ratios of least times. The rivals need the extra `bench`.

Our weights lie in pages of 2 MiB; started with GLIBC_TUNABLES=glibc.malloc.hugetlb=1, the rivals' do as well.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
os.environ.update(OMP_WAIT_POLICY="passive", KMP_BLOCKTIME="1", MKL_THREADING_LAYER="SEQUENTIAL")

import torch  # first, so that its OpenMP is the one that everybody uses

# isort: split
import argparse
import json
import sys
import warnings
from types import ModuleType
from typing import Any

from products import break_even, goals, own
from products.rounds import Timing
from products.times import Times
from sparrot.report.results import Result, benchmark_options

CONTESTS = ("hot", "efficiency", "levels", "break-even", "model", "figure", "storage")


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", 9, options)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="torch|rivals")
    plan, chosen = planned(), given.only or CONTESTS
    timings = [
        timing
        for name in chosen
        if name in plan.CONTESTS
        for timing in plan.CONTESTS[name](given.rounds, quick=given.quick)
    ]
    times = Times(tuple(timings))
    found, goal_rows = goals.measured(times, why)
    rows = [*map(timing_row, timings), *break_even.rows(times), *goal_rows]
    if "storage" in chosen:
        rows += plan.storage_rows()
    command = f"python benchmarks/kernels.py {' '.join(sys.argv[1:])}".strip()
    result = Result(command, [0], rows, found)
    if given.json:
        print(json.dumps(result.to_json(), indent=1, ensure_ascii=False))
        return
    for row in rows:
        print(line(row))
    for goal in found:
        met = "met" if goal.met else "NOT MET"
        print(f"{goal.name}: {goal.measured:.4g} {goal.unit} of {goal.required:.4g}, {met}")


def planned() -> ModuleType:
    """The contests; they need the rivals."""
    try:
        from products import plan
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"The kernels are compared with other libraries, and `{error.name}` is not installed: run "
            "`pip install -e '.[bench]'` first."
        ) from None
    return plan


def options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark has."""
    parser.add_argument("--quick", action="store_true", help="one shape, two batches, without the model")
    parser.add_argument("--only", action="append", choices=CONTESTS, help="run this contest; may be repeated")


def timing_row(timing: Timing) -> dict[str, Any]:
    """Microseconds of one pass: the least, and how far the median of the rounds is above it."""
    case, level = timing.case, f"{100 * timing.sparsity:.0f} % in {timing.block}" if timing.block else "dense"
    return {
        "method": timing.name,
        "set": f"{case.shape}, {case.contest}",
        "level": level,
        "metric": f"kernels.time.{timing.type}.b{case.batch}",
        "value": 1e6 * timing.seconds,
        "unit": "µs",
        "spread": 1e6 * (timing.median - timing.seconds),
        "threads": 1,
        "contest": case.contest,
        "shape": case.shape,
        "batch": case.batch,
        "kind": timing.kind,
        "type": timing.type,
        "sparsity": timing.sparsity,
        "block": timing.block,
        "isa": own.isa(),
    }


def line(row: dict[str, Any]) -> str:
    """A row in one line."""
    value = "none" if row["value"] is None else f"{row['value']:.4g}"
    spread = "" if row["spread"] is None else f" + {row['spread']:.2g}"
    return f"{row['set']}, {row['method']}, {row['level']}: {row['metric']} {value}{spread} {row['unit']}"


if __name__ == "__main__":
    main()
