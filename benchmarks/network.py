"""The encoder of `rnnt-122m`, 97 million weights, as a whole: time a frame, bytes, streams in real time.

    python benchmarks/network.py --json

Every level in float32, bfloat16 and int8, one stream on one thread, against dense chains of the encoder's
matrix products in other libraries (`sparrot bench` does the same with any model). Then int8 at 90 % with many
streams on two threads: how many keep up if all their chunks arrive at once, and how long the slowest chunk of
a hundred takes. Last the packaged digits on one thread, features and search included. Weights are random,
masks exact; an output frame stands for 60 ms of audio. The rivals need the extra `bench`.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
os.environ.update(OMP_WAIT_POLICY="passive", KMP_BLOCKTIME="1")

import torch  # first, so that its OpenMP is the one that everybody uses

# isort: split
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from products.encoder_122m import CHUNK_FRAMES, FRAME_S, LEVELS, write_encoder
from sparrot.bench.race import RIVALS, TYPES, Entry, Race
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.sources import read_sources
from sparrot.engine import Recognizer, set_threads
from sparrot.engine.network import NetworkStream, advance
from sparrot.engine.prepared import PreparedModel
from sparrot.model_file import ModelFile
from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options

Trials = dict[int, list[float]]  # by number of streams, the seconds of each chunk

INPUT_FRAMES = CHUNK_FRAMES * 2
TRIED = (64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280)


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", 10)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        models = {}
        for dtype, name in TYPES.items():
            tell(f"writing the encoder in {name}")
            write_encoder(Path(folder) / name, dtype)
            models[name] = ModelFile.open(Path(folder) / name)
        entries = Race(rounds=given.rounds).run(models, RIVALS, tell)
        trials = trials_of_streams(models["int8"])
    digits = digits_in_real_time(given.rounds)
    kept_up = [n for n, seconds in trials.items() if percentile(seconds, 99) < CHUNK_FRAMES * FRAME_S]
    goals = [
        *goals_of_frames(entries, why),
        goal("network.streams.small", 300, max(kept_up, default=0), why),
        goal("digits.realtime", 500, max(digits.values()), why),
    ]
    rows = [*rows_of_frames(entries), *rows_of_streams(trials), *rows_of_digits(digits)]
    result = Result(f"python benchmarks/network.py --rounds {given.rounds}", [0], rows, goals)
    print(result.shown(as_json=given.json))


def goals_of_frames(entries: Sequence[Entry], why: Mapping[str, str]) -> list[Goal]:
    """Ratios of milliseconds a frame: the fastest dense rival to ours."""
    ours = {(one.type, one.level): one.least for one in entries if one.kind == "sparse"}
    dense = [one for one in entries if one.kind == "dense"]
    fp32, best = min(one.least for one in dense if one.type == "fp32"), min(one.least for one in dense)
    kept = {level: 1 - sparsity for level, sparsity in LEVELS.items()}
    return [
        goal("network.fp32.large.vs_fp32", 1.25, fp32 / ours["fp32", "large"], why),
        goal("network.fp32.medium.vs_fp32", 1.25 / kept["medium"], fp32 / ours["fp32", "medium"], why),
        goal("network.fp32.small.vs_fp32", 1.5 / kept["small"], fp32 / ours["fp32", "small"], why),
        goal("network.bf16.medium.vs_fp32", 1.9 / kept["medium"], fp32 / ours["bf16", "medium"], why),
        goal("network.bf16.small.vs_fp32", 2.8 / kept["small"], fp32 / ours["bf16", "small"], why),
        goal("network.int8.medium.vs_any", 2.5, best / ours["int8", "medium"], why),
        goal("network.int8.small.vs_any", 13, best / ours["int8", "small"], why),
        goal("network.int8.small.vs_fp32", 60, fp32 / ours["int8", "small"], why),
    ]


def goal(name: str, required: float, measured: float, why: Mapping[str, str]) -> Goal:
    """A goal that is met by more."""
    return Goal(name, required, float(measured), "higher", "", why.get(name, UNEXPLAINED))


def trials_of_streams(model: ModelFile, n_chunks: int = 100) -> Trials:
    """More and more streams of the small level on two threads, until chunks take longer than they last."""
    prepared = PreparedModel(model)
    network, stop = prepared["small"].network, prepared["small"].stop
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((INPUT_FRAMES, network.architecture.input_width)).astype(np.float32)
    trials: Trials = {}
    set_threads(2)
    for n in TRIED:
        tell(f"{n} streams on two threads")
        streams = [NetworkStream(network, CHUNK_FRAMES) for _ in range(n)]
        trials[n] = []
        for _ in range(n_chunks):
            for stream in streams:
                stream.push(frames)
            begin = time.perf_counter()
            advance(streams, [stop] * n)
            trials[n].append(time.perf_counter() - begin)
        if percentile(trials[n], 99) >= CHUNK_FRAMES * FRAME_S:
            break
    set_threads(1)
    return trials


def digits_in_real_time(rounds: int) -> dict[str, float]:
    """How many times faster than real time each level of the packaged model is, at its least."""
    strings = read_sources(["packaged:strings/dev"])[:60]
    recognizer = Recognizer.load()
    rate = recognizer.sample_rate_hz or 8000
    waves = [load_waveform(string, rate) for string in strings]
    found = {}
    for level in recognizer.levels():
        least = float("inf")
        for _ in range(rounds):
            begin = time.perf_counter()
            for wave in waves:
                recognizer.transcribe(wave, rate, level=level.name)
            least = min(least, time.perf_counter() - begin)
        found[level.name] = sum(map(len, waves)) / rate / least
    return found


def rows_of_frames(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """Of every contestant of the race."""
    for one in entries:
        figures = one.to_json(FRAME_S)
        described = {"method": one.method, "set": f"{one.kind} {one.type}", "level": one.level}
        metrics = {"ms_per_frame": "ms", "ms_per_frame_median": "ms", "rtf": "", "bytes": ""}
        for metric, unit in metrics.items():
            if figures[metric]:
                yield {**described, "metric": metric, "value": figures[metric], "unit": unit}


def rows_of_streams(trials: Trials) -> Iterator[dict[str, Any]]:
    """The median and the slowest chunk in a hundred of every trial."""
    for n, seconds in trials.items():
        described = {"method": f"sparrot, {n} streams, 2 threads", "set": "int8", "level": "small"}
        for q in (50, 99):
            value = 1e3 * percentile(seconds, q)
            yield {**described, "metric": f"ms a chunk, p{q}", "value": value, "unit": "ms"}


def rows_of_digits(digits: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Of every level of the packaged model."""
    for level, times in digits.items():
        described = {"method": "sparrot, packaged digits", "set": "dev strings", "level": level}
        yield {**described, "metric": "times real time", "value": times, "unit": "×"}


def percentile(seconds: Sequence[float], q: int) -> float:
    """Of all chunks of a trial."""
    return float(np.percentile(seconds, q))


def tell(what: str) -> None:
    """Prints what is going on."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
