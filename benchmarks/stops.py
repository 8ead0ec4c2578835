"""What any sparsity costs: one file with many stops against a file for each of them.

    python benchmarks/stops.py --json

The encoder of `rnnt-122m`, 97 million weights, its three levels and the stops between them in one file, in
float32, bfloat16 and int8. Every stop that drops weights runs chunks of one stream, and of sixteen, on one
thread, in turn with a network that holds the same weights in a single segment, packed for that stop alone;
the logits of both agree. The stop that drops nothing is compared with dense weights by
`benchmarks/kernels.py` (`dense_level`).
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from products.encoder_122m import BLOCK, CHUNK_FRAMES, described, encoder, stored, write_encoder
from sparrot.engine import set_threads
from sparrot.engine.network import Network, NetworkStream, advance
from sparrot.model_file import LevelToWrite, ModelFile, write_model
from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options

TYPES = {"fp32": "F32", "bf16": "BF16", "int8": "I8"}
# Sums are in another order, and a row's int8 scale follows the weights of its file. Other stops: 0.9.
TOLERANCES = {"fp32": 1e-3, "bf16": 0.05, "int8": 0.3}
N_STOPS = 8
STREAMS = (1, 16)
REST_S = 0.02
MOST, MOST_SPARSEST = 1.08, 1.0
NOISE = 0.02  # of the sparsest stop, which is one segment in either file
RUNS = 4  # chunks a round

Rows = Iterator[dict[str, Any]]


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", 12)
    set_threads(1)
    rows: list[dict[str, Any]] = []
    for name, dtype in TYPES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += overheads(name, dtype, Path(folder), given.rounds)
    ratios = [row for row in rows if row["metric"] == "overhead"]
    sparsest = [row["value"] for row in ratios if row["stop"] == 0]
    figures = {
        "stops.overhead": (MOST, max(row["value"] for row in ratios)),
        "stops.sparsest": (MOST_SPARSEST + NOISE, max(sparsest)),
    }
    goals = [
        Goal(name, most, found, "lower", "", None if found <= most else why.get(name, UNEXPLAINED))
        for name, (most, found) in figures.items()
    ]
    print(Result("python benchmarks/stops.py", [0], rows, goals).shown(as_json=given.json))


def overheads(name: str, dtype: str, folder: Path, rounds: int) -> Rows:
    """The rows of one type of weights."""
    tell(f"{name}: writing {N_STOPS} stops")
    whole = folder / "whole.sparrot"
    write_encoder(whole, dtype, n_stops=N_STOPS)
    model = ModelFile.open(whole)
    shared = network_of(model, len(model.stops))
    for number, stop in enumerate(model.stops):
        if stop.overall_sparsity < 0.01:
            continue
        tell(f"{name}: stop {number}, {stop.overall_sparsity:.1%} sparse")
        alone = separately(model, dtype, stop.overall_sparsity, folder / "alone.sparrot")
        for n_streams in STREAMS:
            ours, theirs = in_turn((shared, number), (alone, 0), n_streams, rounds, TOLERANCES[name])
            label = f"{n_streams} streams, {stop.overall_sparsity:.1%} sparse"
            what = {"method": "stops of one file", "set": f"encoder, {name}", "level": label, "stop": number}
            yield what | {"metric": "ms a chunk", "value": 1e3 * ours, "unit": "ms"}
            yield what | {"metric": "ms a chunk, packed alone", "value": 1e3 * theirs, "unit": "ms"}
            yield what | {"metric": "overhead", "value": ours / theirs, "unit": ""}


def separately(model: ModelFile, dtype: str, sparsity: float, path: Path) -> Network:
    """The network of what a stop keeps, in one segment."""
    weights = model.parameters(sparsity)
    kept = {m.name: in_blocks(weights[m.name] != 0) for m in encoder().matrices() if m.type == "lstm"}
    write_model(path, described(dtype), weights, [LevelToWrite(name="only", kept=kept)], stored(dtype))
    return network_of(ModelFile.open(path), 1)


def in_blocks(kept: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whole blocks of which anything is kept: a kept weight may be 0."""
    rows = BLOCK[0]
    return kept.reshape(-1, rows, kept.shape[1]).any(axis=1).repeat(rows, axis=0)


def network_of(model: ModelFile, n_stops: int) -> Network:
    """The network with its first stops."""
    network = Network(encoder(), model.read_stop(0), verify=False)
    for stop in range(1, n_stops):
        network.add_stop(model.read_stop(stop))
    return network


def in_turn(
    ours: tuple[Network, int], theirs: tuple[Network, int], n_streams: int, rounds: int, tolerance: float
) -> tuple[float, float]:
    """The least seconds of a chunk of all streams, of both networks; their logits agree.

    tolerance: of the root mean square of their difference, over their standard deviation.
    """
    shape = (n_streams, 2 * CHUNK_FRAMES * (1 + rounds) * RUNS, 320)
    frames = np.random.default_rng(0).standard_normal(shape)
    runners = [Runner(*one, frames.astype(np.float32)) for one in (ours, theirs)]
    first, second = (runner.chunk() for runner in runners)
    apart = float(np.sqrt(np.mean((first - second) ** 2)) / second.std())
    if not apart < tolerance:
        raise AssertionError(f"the logits of the two files are {apart:.3f} standard deviations apart")
    least = [float("inf")] * 2
    for _ in range(rounds):
        for i, runner in enumerate(runners):
            time.sleep(REST_S)
            runner.chunk()  # brings the weights that fit back into the cache
            least[i] = min(least[i], *(runner.timed() for _ in range(RUNS - 1)))
    return least[0], least[1]


class Runner:
    """Streams of one network at one stop."""

    def __init__(self, network: Network, stop: int, frames: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        self._streams = [NetworkStream(network, CHUNK_FRAMES) for _ in frames]
        self._stops = [stop] * len(frames)
        for stream, own in zip(self._streams, frames, strict=True):
            stream.push(own)

    def chunk(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The logits of the next chunk of all streams."""
        return np.stack(advance(self._streams, self._stops))

    def timed(self) -> float:
        """Seconds that it takes."""
        begin = time.perf_counter()
        advance(self._streams, self._stops)
        return time.perf_counter() - begin


def tell(what: str) -> None:
    """Says what goes on."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
