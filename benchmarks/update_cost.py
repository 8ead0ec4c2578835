"""What an update of three levels costs, in dense updates.

    python benchmarks/update_cost.py --json

Whole updates of `Trainer`, with loss, clipping, optimiser and scores, of strings of the packaged digits:
60 s of 8 kHz log-mel a batch through four LSTM layers. Three runs take the same batches in turn, on one
thread: one dense level; a full, a 70 % and a 90 % sparse level with products of blocks; the same with dense
products of masked weights. An update costs the median, over batches, of its time divided by that of the
dense one beside it. Times are CPU seconds of this process, so that other programs do not count.

Before it times anything, it compares the gradients of every level with float64: those of blocks must be as
near, within a factor of four, as those of dense products, whose sums are in another order.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import copy
import itertools
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from sparrot.nn import CtcNetwork
from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options
from sparrot.train.config import Config
from sparrot.train.data import Batch
from sparrot.train.environment import prepare_process
from sparrot.train.loop import Trainer
from sparrot.train.loss import ctc_loss
from sparrot.train.recipe import parse_config

LEVELS = {"large": {}, "medium": {"lstm": 0.7}, "small": {"lstm": 0.9, "fc": 0.5}}
CELLS = (384, 640)
RUNS = {"dense": None, "blocks": "blocks", "masked": "dense"}  # name → products of its levels
N_BATCHES = 4

Times = dict[tuple[str, str], list[float]]  # by run, and by level or `update`: seconds of every batch


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", 5)
    prepare_process()
    rows, costs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for cells in CELLS:
            print(f"4 layers of {cells} cells", file=sys.stderr)
            runs = {
                name: trainer(cells, products, Path(folder) / f"{cells}-{name}")
                for name, products in RUNS.items()
            }
            batches = list(itertools.islice(runs["dense"].data.batches(0), N_BATCHES))
            for run in runs.values():
                run.update(batches[0])  # makes the masks, and the optimiser's state
            check(runs, batches[0])
            times = times_of(runs, batches, given.rounds)
            costs[cells] = cost(times, "blocks")
            rows += list(rows_of(times, cells))
    goals = [Goal("update.cost", 2.2, costs[CELLS[0]], "lower", why=why.get("update.cost", UNEXPLAINED))]
    result = Result(f"python benchmarks/update_cost.py --rounds {given.rounds}", [1], rows, goals)
    if given.json:
        print(json.dumps(result.to_json(), indent=1, ensure_ascii=False))
        return
    for row in rows:
        described = f"{row['method']:8} {row['set']:14} {row['level']:8} {row['metric']:16}"
        print(f"{described} {row['value']:.4g} {row['unit']}")


def trainer(cells: int, products: str | None, folder: Path) -> Trainer:
    """A run that is at its levels from the second update on; one dense level if there are no products."""
    run = Trainer.new(config(cells, products), folder)
    run.network.train()
    return run


def config(cells: int, products: str | None) -> Config:
    """A recipe of the size that a few hours of speech are trained with."""
    sparse = {"levels": LEVELS, "products": products, "initial": 1.0, "end": 1e-6, "freeze": None}
    return parse_config(
        {
            "name": "update-cost",
            "data": {
                "train": ["packaged:train"],
                "dev": ["packaged:strings/dev"],
                "strings": 300,
                "batch_seconds": 60,
                "skip_too_short": True,
            },
            "tokens": {"kind": "sentencepiece", "size": 27},
            "features": {"kind": "log_mel", "sample_rate_hz": 8000, "n_mels": 40},
            "front": {"kind": "stack", "frames": 4, "stride": 3},
            "encoder": {"layers": 4, "cells": cells, "layer_norm": True, "reduce_after": 1},
            "dropout": 0.25,
            "optimiser": {"kind": "adamw", "learning_rate": 1e-4, "weight_decay": 1e-2, "clip_norm": 5.0},
            "sparsity": None if products is None else sparse,
            "training": {"epochs": 1, "threads": 1},
        },
        "of the benchmark",
    )


def check(runs: Mapping[str, Trainer], batch: Batch) -> None:
    """Stops the benchmark if gradients of blocks are further from float64 than rounding explains."""
    runs["masked"].network.load_state_dict(runs["blocks"].network.state_dict())
    runs["masked"].sparsity.load_state_dict(runs["blocks"].sparsity.state_dict())
    for level in LEVELS:
        expected = exact_gradients(runs["blocks"], level, batch)
        found = {name: gradients(runs[name], level, batch) for name in ("blocks", "masked")}
        for parameter, truth in expected.items():
            error = {
                name: float((own[parameter] - truth).norm() / truth.norm()) for name, own in found.items()
            }
            if error["blocks"] > 4 * error["masked"]:
                raise SystemExit(
                    f"the gradient of {parameter} at `{level}` is wrong: {error}; nothing was timed"
                )


def gradients(run: Trainer, level: str, batch: Batch) -> dict[str, Tensor]:
    """Of every parameter, in the pass of one level."""
    run.network.zero_grad()
    with run.sparsity.at(level):
        loss(run.network, batch).backward()
    found = {name: parameter.grad.double() for name, parameter in run.network.named_parameters()}
    run.network.zero_grad()
    return found


def exact_gradients(run: Trainer, level: str, batch: Batch) -> dict[str, Tensor]:
    """The same in float64, of a copy that is zeroed by hand."""
    network, masks = copy.deepcopy(run.network).double(), run.sparsity.masks(level)
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).copy_(mask.apply(network.get_parameter(name)))
    loss(network, batch).backward()
    given = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {name: masks[name].apply(grad) if name in masks else grad for name, grad in given.items()}


def loss(network: CtcNetwork, batch: Batch) -> Tensor:
    """CTC of a batch, with the same values dropped out each time."""
    torch.manual_seed(0)
    frames = batch.frames.to(next(network.parameters()).dtype)
    logits, lengths = network(frames, batch.lengths)
    return ctc_loss(logits, lengths, batch.targets, batch.target_lengths).mean()


def times_of(runs: Mapping[str, Trainer], batches: list[Batch], n_rounds: int) -> Times:
    """Updates of all runs, in turn."""
    times: Times = defaultdict(list)
    for _ in range(n_rounds):
        for batch in batches:
            for name, run in runs.items():
                with timed_passes(run, name, times):
                    begin = time.process_time()
                    run.update(batch)
                    times[name, "update"].append(time.process_time() - begin)
    return times


@contextmanager
def timed_passes(run: Trainer, name: str, times: Times) -> Iterator[None]:
    """Within the block, passes are timed from the way into their level to the way out."""
    at = run.sparsity.at

    @contextmanager
    def timed(level: str) -> Iterator[None]:
        begin = time.process_time()
        with at(level):
            yield
        times[name, level].append(time.process_time() - begin)

    run.sparsity.at = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        del run.sparsity.at


def cost(times: Times, run: str, what: str = "update") -> float:
    """In dense updates, or of a level in dense passes."""
    dense = times["dense", "update" if what == "update" else "dense"]
    return median(own / beside for own, beside in zip(times[run, what], dense, strict=True))


def rows_of(times: Times, cells: int) -> Iterator[dict[str, Any]]:
    """The seconds and the cost of every update and pass."""
    for run, what in times:
        described = {"method": run, "set": f"4 × {cells} cells", "level": "all" if what == "update" else what}
        word = "update" if what == "update" else "pass"
        seconds = times[run, what]
        yield {**described, "metric": f"{word}.seconds", "value": median(seconds), "unit": "s"}
        yield {**described, "metric": f"{word}.cost", "value": cost(times, run, what), "unit": "×"}


if __name__ == "__main__":
    main()
