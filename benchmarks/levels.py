"""What levels cost while a program runs: loading one, changing to one, several in one batch.

    python benchmarks/levels.py --json

The encoder of `rnnt-122m` (97 million weights, 70 and 90 % sparsity) and the packaged digits, on one thread.

- Loading: milliseconds from a path to a level that can run, the file being in the page cache.
- Changing: `set_level`, and the first chunk after it against the chunks that follow, the level being prepared
  or read only then.
- A batch of streams at three levels against the same streams grouped by level (a goal at 16 streams, where
  weights from memory take the time, and not at 64, where products do), and against the sum over its
  segments, each at the number of streams that use it. The latter is put together from batches at one level:
  T(small, all) + [T(medium, n₁) − T(small, n₁)] + [T(large, n₂) − T(medium, n₂)].
- Python's start to the first transcript of the packaged model, as another process.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from products.encoder_122m import CHUNK_FRAMES, write_encoder
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.sources import read_sources
from sparrot.engine import Recognizer
from sparrot.engine.network import NetworkStream, advance
from sparrot.engine.prepared import PreparedModel
from sparrot.engine.recognizer import packaged_model
from sparrot.model_file import ModelFile
from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options

TYPES = {"fp32": "F32", "int8": "I8"}
BATCHES = ({"large": 1, "medium": 3, "small": 12}, {"large": 4, "medium": 12, "small": 48})
FIRST_TRANSCRIPT = """\
import sys
import numpy as np
from sparrot.engine import Recognizer
samples = np.load(sys.argv[1])
text = Recognizer.load().transcribe(samples, int(sys.argv[2])).text
assert text == sys.argv[3], text
"""

Rows = Iterator[dict[str, Any]]
Measured = dict[str, float]  # of every goal, the worst figure
MEMORY_BOUND = 16  # streams at which reading weights, and not computing, takes the time
MEGABYTES = 15  # of the level that the goal of loading speaks of


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", 9)
    rows: list[dict[str, Any]] = []
    measured: Measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, dtype in TYPES.items():
            path = Path(folder) / f"{name}.sparrot"
            tell(f"writing the encoder in {name}")
            write_encoder(path, dtype)
            encoder = f"encoder, {name}"
            rows += loading(path, encoder, given.rounds, measured)
            rows += changing(ModelFile.open(path), encoder, given.rounds, measured)
            for batch in BATCHES:
                rows += mixed(ModelFile.open(path), encoder, batch, given.rounds, measured)
    rows += changing(ModelFile.open(packaged_model()), "digits", 10 * given.rounds, measured)
    rows += set_level(measured)
    rows += first_transcript(given.rounds, measured)
    limits = {
        "levels.load": (50.0, "ms"),
        "levels.set_level": (10.0, "µs"),
        "levels.first_chunk": (1.2, ""),
        "levels.mixed": (1.05, ""),
        "levels.mixed.vs_grouped": (1.0, ""),
        "levels.start": (0.5, "s"),
    }
    goals = [
        Goal(name, required, measured[name], "lower", unit, why.get(name, UNEXPLAINED))
        for name, (required, unit) in limits.items()
    ]
    result = Result(f"python benchmarks/levels.py --rounds {given.rounds}", [0], rows, goals)
    print(result.shown(as_json=given.json))


def loading(path: Path, name: str, rounds: int, measured: Measured) -> Rows:
    """From a path to levels that can run, sparsest first, each on top of the one before."""
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        begin = time.perf_counter()
        model = ModelFile.open(path)
        prepared = PreparedModel(model)
        for level in reversed(model.levels):
            _ = prepared[level.name]
            seconds.setdefault(level.name, []).append(time.perf_counter() - begin)
    for level in model.levels:
        least = min(seconds[level.name])
        yield row(("loading", name, level.name), "ms", 1e3 * least)
        yield row(("loading", name, level.name), "MB", model.level_bytes(level.name) / 1e6, "MB")
        if level.stop == 0:
            scaled = 1e3 * least * MEGABYTES / (model.level_bytes(level.name) / 1e6)
            worst(measured, "levels.load", scaled)


def changing(model: ModelFile, name: str, rounds: int, measured: Measured, n_after: int = 6) -> Rows:
    """The first chunk at another level against the median of those after it, one stream."""
    levels = [level.name for level in model.levels]
    prepared = PreparedModel(model)
    for before in levels:
        for after in levels:
            if before == after:
                continue
            first, later = [], []
            for _ in range(rounds):
                chunks = chunk_seconds(prepared, [before] * 3 + [after] * (1 + n_after))[3:]
                first.append(chunks[0])
                later.append(statistics.median(chunks[1:]))
            ratio = statistics.median(first) / statistics.median(later)
            worst(measured, "levels.first_chunk", ratio)
            label = f"{before} to {after}"
            yield row(("changing, prepared", name, label), "first chunk / later ones", ratio, "")
            yield row(("changing, prepared", name, label), "ms a chunk", 1e3 * statistics.median(later))
    for after in levels[:-1]:
        unread = PreparedModel(model)
        chunk = chunk_seconds(unread, [levels[-1]] * 3 + [after])[3]
        label = f"{levels[-1]} to {after}"
        yield row(("changing, not prepared", name, label), "ms, the first chunk", 1e3 * chunk)


def chunk_seconds(prepared: PreparedModel, levels: list[str]) -> list[float]:
    """How long each chunk of one stream takes, at these levels; reading a level counts."""
    sparsest = prepared[min(prepared.levels.values(), key=lambda level: level.stop).name]
    stream = NetworkStream(sparsest.network, CHUNK_FRAMES)
    stream.push(frames_for(stream, len(levels)))
    seconds = []
    for level in levels:
        begin = time.perf_counter()
        advance([stream], [prepared[level].stop])
        seconds.append(time.perf_counter() - begin)
    return seconds


def mixed(model: ModelFile, name: str, batch: Mapping[str, int], rounds: int, measured: Measured) -> Rows:
    """A batch of several levels, the same streams by level, and its segments one by one."""
    prepared = PreparedModel(model)
    stops = {level: prepared[level].stop for level in batch}
    large, medium, small = (batch[level] for level in ("large", "medium", "small"))
    everyone = large + medium + small
    contestants: dict[str, Callable[[], float]] = {
        "mixed": lambda: batch_seconds(
            prepared, [stops[level] for level, n in batch.items() for _ in range(n)]
        ),
        **{
            f"{level} {n}": lambda level=level, n=n: batch_seconds(prepared, [stops[level]] * n)
            for level, n in [
                *batch.items(),
                ("small", everyone),
                ("medium", large + medium),
                ("small", large + medium),
                ("medium", large),
            ]
        },
    }
    least = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):
        for key, run in contestants.items():
            least[key] = min(least[key], run())
    grouped = sum(least[f"{level} {n}"] for level, n in batch.items())
    by_segment = (
        least[f"small {everyone}"]
        + (least[f"medium {large + medium}"] - least[f"small {large + medium}"])
        + (least[f"large {large}"] - least[f"medium {large}"])
    )
    label = f"{large} large, {medium} medium, {small} small"
    yield row(("mixed batch", name, label), "ms a chunk", 1e3 * least["mixed"])
    yield row(("mixed batch", name, label), "ms by level", 1e3 * grouped)
    yield row(("mixed batch", name, label), "ms by segment", 1e3 * by_segment)
    worst(measured, "levels.mixed", least["mixed"] / by_segment)
    if everyone == MEMORY_BOUND:
        worst(measured, "levels.mixed.vs_grouped", least["mixed"] / grouped)


def batch_seconds(prepared: PreparedModel, stops: list[int]) -> float:
    """Of the second chunk of as many streams as there are stops."""
    streams = [NetworkStream(prepared.network, CHUNK_FRAMES) for _ in stops]
    for stream in streams:
        stream.push(frames_for(stream, 2))
    advance(streams, stops)
    begin = time.perf_counter()
    advance(streams, stops)
    return time.perf_counter() - begin


def frames_for(stream: NetworkStream, n_chunks: int) -> np.ndarray:
    """Random frames for so many chunks, and what the last of them sees ahead."""
    architecture = stream.network.architecture
    n = n_chunks * CHUNK_FRAMES * architecture.reduction + architecture.lookahead
    return np.random.default_rng(0).standard_normal((n, architecture.input_width)).astype(np.float32)


def set_level(measured: Measured, n_times: int = 10_000) -> Rows:
    """Microseconds a call, between prepared levels of the packaged model."""
    recognizer = Recognizer.load()
    names = [level.name for level in recognizer.levels()]
    for name in names:
        recognizer.prepare(name)
    with recognizer.stream() as stream:
        begin = time.perf_counter()
        for i in range(n_times):
            stream.set_level(names[i % len(names)])
        value = 1e6 * (time.perf_counter() - begin) / n_times
    worst(measured, "levels.set_level", value)
    yield row(("set_level", "digits", "any"), "µs", value, "µs")


def first_transcript(rounds: int, measured: Measured) -> Rows:
    """Seconds from the start of Python to the first transcript, imports and loading included."""
    recognizer = Recognizer.load()
    rate = recognizer.sample_rate_hz or 8000
    wave = load_waveform(read_sources(["packaged:strings/dev"])[0], rate)
    expected = recognizer.transcribe(wave, rate).text
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wave.npy"
        np.save(path, wave)
        command = [sys.executable, "-c", FIRST_TRANSCRIPT, str(path), str(rate), expected]
        seconds = []
        for _ in range(rounds):
            begin = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - begin)
    worst(measured, "levels.start", statistics.median(seconds))
    yield row(("start to transcript", "digits", "large"), "s, median", statistics.median(seconds), "s")


def row(what: tuple[str, str, str], metric: str, value: float, unit: str = "ms") -> dict[str, Any]:
    """One figure of a method, a set and a level."""
    return dict(zip(("method", "set", "level"), what, strict=True), metric=metric, value=value, unit=unit)


def worst(measured: Measured, goal: str, value: float) -> None:
    """Keeps the largest figure of a goal."""
    measured[goal] = max(measured.get(goal, value), value)


def tell(what: str) -> None:
    """Prints what is going on."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
