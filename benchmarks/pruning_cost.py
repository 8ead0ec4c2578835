"""What an update costs that prunes for good, in dense updates.

    python benchmarks/pruning_cost.py --json

Whole updates of `Trainer`, with loss, clipping and optimiser, of strings of packaged digits: 20 s of 8 kHz
log-mel a batch through four LSTM layers of 384 cells, on one thread. For every optimiser a dense run and one
of every method take the same batches in turn. An update costs the median, over batches, of its time divided
by that of the dense one beside it; one in a hundred renews masks, as is usual, and is counted so. Times are
CPU seconds of this process, so that other programs do not count.

Before it times anything, it takes a hundredth of the schedule and checks that dropped weights are zero.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import itertools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options
from sparrot.sparsity import Pruning
from sparrot.train.config import Config
from sparrot.train.data import Batch
from sparrot.train.environment import prepare_process
from sparrot.train.loop import Trainer
from sparrot.train.recipe import parse_config

OPTIMISERS = {
    "sgd": {"kind": "sgd", "learning_rate": 1e-4},
    "nesterov": {"kind": "nesterov", "learning_rate": 1e-4, "momentum": 0.9},
    "adamw": {"kind": "adamw", "learning_rate": 1e-4, "weight_decay": 1e-2},
}
_SHARES = {"sparsity": {"lstm": 0.9, "fc": 0.9}, "every": 2}
_GROWING = {**_SHARES, "begin": 0.01, "end": 1.0}
# The weights are as they were drawn, evenly: under a threshold that 45 % of them are below, some blocks are.
_THRESHOLD = {"method": "threshold", **_GROWING, "sparsity": {"lstm": 0.45, "fc": 0.45}, "ramp": 0.5}
_ALONE = {"method": "penalty", "sparsity": {"lstm": 0, "fc": 0}, "every": 2}
METHODS: dict[str, dict[str, Any]] = {
    "WP": _THRESHOLD,
    "BP 4×4": {**_THRESHOLD, "block": "4x4"},
    "GLP 4×4": {**_THRESHOLD, "block": "4x4", "penalty": "group_lasso", "strength": 1e-3},
    "GL 4×4": {**_ALONE, "block": "4x4", "penalty": "group_lasso", "strength": 1e-3},
    "ℓ1": {**_ALONE, "penalty": "l1", "strength": 1e-3},
    "ℓ½": {**_ALONE, "penalty": "l_half", "strength": 1e-3},
    "hard threshold": {"method": "at_once", **_SHARES, "begin": 0.01, "scope": "type"},
    "iterative": {"method": "rounds", **_GROWING, "scope": "global"},
    "gradual 4×4": {"method": "gradual", **_GROWING, "block": "4x4"},
}
N_BATCHES, N_WARM = 4, 4
RENEWALS = 0.01  # of all updates
MOST = 1.1

Times = dict[tuple[str, bool], list[float]]  # by run, and whether masks were renewed: ratios to the dense run


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", 5)
    prepare_process()
    rows, goals = [], []
    for optimiser in OPTIMISERS:
        print(optimiser, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            runs = trainers(optimiser, Path(folder))
            batches = list(itertools.islice(runs["dense"].data.batches(0), N_BATCHES))
            for batch in batches[:N_WARM]:  # masks, and the optimiser's state
                for run in runs.values():
                    run.update(batch)
            check(runs)
            times = times_of(runs, batches, given.rounds)
        own = list(rows_of(times, optimiser))
        rows += own
        worst = max(row["value"] for row in own if row["metric"] == "update.cost")
        name = f"pruning.cost.{optimiser}"
        reason = None if worst <= MOST else why.get(name, UNEXPLAINED)
        goals.append(Goal(name, MOST, worst, "lower", "×", reason))
    result = Result(f"python benchmarks/pruning_cost.py --rounds {given.rounds}", [1], rows, goals)
    print(result.shown(as_json=given.json))


def trainers(optimiser: str, folder: Path) -> dict[str, Trainer]:
    """A dense run, and one of every method from its weights."""
    dense = Trainer.new(config(optimiser, None, None), folder / "dense")
    dense.save(folder / "dense" / "last.pt")
    pruned = {
        name: Trainer.new(config(optimiser, method, folder / "dense"), folder / name)
        for name, method in METHODS.items()
    }
    for run in (dense, *pruned.values()):
        run.network.train()
    return {"dense": dense, **pruned}


def config(optimiser: str, pruning: Mapping[str, Any] | None, dense: Path | None) -> Config:
    """A recipe of the size that a few hours of speech are trained with."""
    return parse_config(
        {
            "name": "pruning-cost",
            "data": {
                "train": ["packaged:train"],
                "dev": ["packaged:strings/dev"],
                "strings": 900,
                "batch_seconds": 20,
                "skip_too_short": True,
            },
            "tokens": {"kind": "sentencepiece", "size": 27},
            "features": {"kind": "log_mel", "sample_rate_hz": 8000, "n_mels": 40},
            "front": {"kind": "stack", "frames": 4, "stride": 3},
            "encoder": {"layers": 4, "cells": 384, "layer_norm": True, "fc": [384]},
            "optimiser": {**OPTIMISERS[optimiser], "clip_norm": 5.0},
            "pruning": pruning,
            "training": {"epochs": 1, "threads": 1, "init_from": None if dense is None else str(dense)},
        },
        "of the benchmark",
    )


def check(runs: Mapping[str, Trainer]) -> None:
    """Stops the benchmark if a weight that was dropped is not zero."""
    for name, run in runs.items():
        if not isinstance(run.sparsity, Pruning):
            continue
        for target in run.sparsity.targets:
            dropped = run.sparsity.masks()[target.name].dropped_weights()
            if target.parameter.detach()[dropped].any():
                raise SystemExit(f"{name}: a dropped weight of {target.name} is not zero; nothing was timed")


def times_of(runs: Mapping[str, Trainer], batches: list[Batch], n_rounds: int) -> Times:
    """Updates of all runs, in turn."""
    ratios: Times = defaultdict(list)
    for _ in range(n_rounds):
        for batch in batches:
            dense = 0.0
            for name, run in runs.items():
                begin = time.process_time()
                update = run.update(batch)
                taken = time.process_time() - begin
                dense = dense or taken  # it comes first
                ratios[name, bool(update.masks)].append(taken / dense)
    return ratios


def rows_of(times: Times, optimiser: str) -> Iterator[dict[str, Any]]:
    """The cost of an update of every method: when masks are renewed, when not, and on the whole."""
    for name in METHODS:
        usual = median(times[name, False])
        renewing = median(times[name, True]) if times.get((name, True)) else usual
        costs = {"renewal.cost": renewing, "update.cost": (1 - RENEWALS) * usual + RENEWALS * renewing}
        for metric, value in costs.items():
            described = {"method": name, "set": f"4 × 384 cells, {optimiser}", "level": "pruned"}
            yield {**described, "metric": metric, "value": value, "unit": "×"}


if __name__ == "__main__":
    main()
