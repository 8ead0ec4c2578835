"""How much faster than real time the NumPy runner and its decoders are, on one thread.

    python benchmarks/runner.py --json

- `runner.lstm3x512.rtf`: three LSTM layers of 512, 100 frames a second, in chunks of 8 frames.
- `runner.beam8.rtf`: prefix beam search of width 8 over 30 tokens, 50 frames a second of flat posteriors.
- `runner.digits.rtf` by level: the packaged model, features and greedy search included, on packaged strings.

Seconds are CPU seconds of this process, the median of the rounds. Weights of the first are random; before
it is timed its output is compared with float64 loops, and that of the packaged model with the texts.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparrot import Recognizer
from sparrot.architecture import Architecture, Linear, Recurrent
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.packaged import packaged_strings
from sparrot.engine.decoders import PrefixBeamDecoder
from sparrot.engine.frames import Float32
from sparrot.engine.network import Network, NetworkStream
from sparrot.metrics import count_errors, total
from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options

N_STRINGS = 30
MOST = 1.0  # real-time factor of the large network


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", rounds=5)
    rows = [*network_rows(given.rounds), *beam_rows(given.rounds), *digits_rows(given.rounds)]
    if not given.json:
        for row in rows:
            print(f"{row['metric']}, {row['level']}: {row['value']:.4f} ± {row['spread']:.2g}")
        return
    print(json.dumps(result(rows, why).to_json(), indent=2))


def result(rows: list[dict[str, Any]], why: dict[str, str]) -> Result:
    """The figures in the shape of all results."""
    name = "runner.lstm3x512.rtf"
    (found,) = [row["value"] for row in rows if row["metric"] == name]
    command = f"python benchmarks/runner.py {' '.join(sys.argv[1:])}".strip()
    goal = Goal(name, MOST, found, "lower", why=why.get(name, UNEXPLAINED))
    return Result(command, [0], rows, [goal])


def row(metric: str, on: str, level: str, times_s: Sequence[float], duration_s: float) -> dict[str, Any]:
    """CPU seconds a second of audio: the median, and half the range."""
    factors = [time_s / duration_s for time_s in times_s]
    spread = (max(factors) - min(factors)) / 2
    described = {"method": "NumPy runner", "set": on, "level": level, "metric": metric, "unit": ""}
    return {**described, "value": median(factors), "spread": spread, "threads": 1}


def seconds(work: Callable[[], object], n_rounds: int) -> list[float]:
    """CPU seconds of a piece of work, round by round, after one that warms up."""
    times = []
    for _ in range(n_rounds + 1):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return times[1:]


def network_rows(n_rounds: int) -> Iterator[dict[str, Any]]:
    """Three LSTM layers of 512, after their output has been compared with that of float64 loops."""
    layers = [Recurrent(f"lstm{i}", "lstm", 512) for i in range(3)]
    architecture = Architecture(40, (*layers, Linear("output", 30)))
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {m.name: (m.rows, m.columns) for m in architecture.matrices()}
    shapes.update({v.name: (v.size,) for v in architecture.vectors()})
    parameters = {
        name: (0.05 * random.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()
    }
    network = Network(architecture, parameters)
    frames = random.normal(size=(200, 40)).astype(np.float32)

    def decode() -> Float32:
        stream = NetworkStream(architecture, 8)
        stream.push(frames)
        stream.finish()
        logits = []
        while (found := stream.advance(network)) is not None:
            logits.append(found)
        return np.concatenate(logits)

    error = np.abs(decode() - exact(parameters, frames)).max()
    if not error < 1e-4:
        raise SystemExit(f"the runner's output is {error:.2g} away from float64; nothing was timed")
    yield row("runner.lstm3x512.rtf", "200 frames, random weights", "dense", seconds(decode, n_rounds), 2.0)


def exact(parameters: Mapping[str, Float32], frames: Float32) -> NDArray[np.float64]:
    """Logits of the LSTM layers in float64, gates in the order i, f, g, o."""
    wide = {name: values.astype(np.float64) for name, values in parameters.items()}
    hidden: NDArray[np.float64] = frames.astype(np.float64)
    for i in range(3):
        h, c, rows = np.zeros(512), np.zeros(512), []
        for frame in hidden:
            gates = wide[f"lstm{i}.input"] @ frame + wide[f"lstm{i}.recurrent"] @ h + wide[f"lstm{i}.bias"]
            into, forget, new, out = np.split(gates, 4)
            c = c / (1 + np.exp(-forget)) + np.tanh(new) / (1 + np.exp(-into))
            h = np.tanh(c) / (1 + np.exp(-out))
            rows.append(h)
        hidden = np.array(rows)
    return hidden @ wide["output.weight"].T + wide["output.bias"]


def beam_rows(n_rounds: int) -> Iterator[dict[str, Any]]:
    """A beam search that nothing prunes: posteriors are flat."""
    rows = np.full((500, 30), -np.log(30), np.float32)

    def decode() -> None:
        PrefixBeamDecoder(beam=8).accept(rows, "large")

    yield row("runner.beam8.rtf", "flat posteriors", "large", seconds(decode, n_rounds), 10.0)


def digits_rows(n_rounds: int) -> Iterator[dict[str, Any]]:
    """The packaged model by level, features and greedy search included, after a look at its word errors."""
    recognizer = Recognizer.load()
    rate_hz = recognizer.sample_rate_hz
    assert rate_hz is not None
    strings = packaged_strings("dev")[:N_STRINGS]
    waves = [load_waveform(string, rate_hz) for string in strings]
    duration = sum(len(wave) for wave in waves) / rate_hz

    def decode(level: str) -> list[str]:
        return [recognizer.transcribe(wave, rate_hz, level=level).text for wave in waves]

    for level in recognizer.levels:
        wer = total([count_errors(s.text, t) for s, t in zip(strings, decode(level), strict=True)]).wer
        if wer > 0.1:
            raise SystemExit(f"`{level}` gets {wer:.0%} of the words wrong; nothing more was timed")
        times = seconds(partial(decode, level), n_rounds)
        yield row("runner.digits.rtf", "30 packaged strings", level, times, duration)


if __name__ == "__main__":
    main()
