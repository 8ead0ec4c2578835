"""How much faster than real time the NumPy runner and its decoders are, on one thread.

    python benchmarks/runner.py --json

- `runner.lstm3x512.rtf`: three LSTM layers of 512, 100 frames a second, in chunks of 8 frames.
- `runner.beam8.rtf`: prefix beam search of width 8 over 30 tokens, 50 frames a second of flat posteriors.
- `runner.digits.rtf.<level>`: the packaged model, features and greedy search included, on packaged strings.

Seconds are CPU seconds of this process, the median of the rounds. Weights of the first are random.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np

from sparrot import Recognizer
from sparrot.architecture import Architecture, Linear, Recurrent
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.packaged import packaged_strings
from sparrot.engine.decoders import PrefixBeamDecoder
from sparrot.engine.network import Network, NetworkStream
from sparrot.report.results import Goal, Result

N_STRINGS = 30
MOST = 1.0  # real-time factor of the large network


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--rounds", type=int, default=5, help="how often every figure is taken (default 5)")
    given = parser.parse_args()
    figures = {"runner.lstm3x512.rtf": network_rtf(given.rounds), "runner.beam8.rtf": beam_rtf(given.rounds)}
    figures |= {f"runner.digits.rtf.{level}": rtf for level, rtf in digits_rtf(given.rounds).items()}
    if not given.json:
        for name, value in figures.items():
            print(f"{name} {value:.4f}")
        return
    print(json.dumps(result(figures).to_json(), indent=2))


def result(figures: dict[str, float]) -> Result:
    """The figures in the shape of all results."""
    name = "runner.lstm3x512.rtf"
    command = f"python benchmarks/runner.py {' '.join(sys.argv[1:])}".strip()
    rows = [{"method": "NumPy runner", "metric": metric, "value": value} for metric, value in figures.items()]
    goal = Goal(name, MOST, figures[name], "lower", why="this processor is too slow for NumPy on one thread")
    return Result(command, [0], rows, [goal])


def seconds(work: Callable[[], object], n_rounds: int) -> float:
    """Median CPU seconds of a piece of work, after one round that warms up."""
    times = []
    for _ in range(n_rounds + 1):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return median(times[1:])


def network_rtf(n_rounds: int) -> float:
    """Seconds a second of audio of three LSTM layers of 512."""
    layers = [Recurrent(f"lstm{i}", "lstm", 512) for i in range(3)]
    architecture = Architecture(40, (*layers, Linear("output", 30)))
    random = np.random.default_rng(0)
    shapes = {m.name: (m.rows, m.columns) for m in architecture.matrices()}
    shapes |= {v.name: (v.size,) for v in architecture.vectors()}
    parameters = {
        name: (0.05 * random.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()
    }
    network = Network(architecture, parameters)
    frames = random.normal(size=(200, 40)).astype(np.float32)

    def decode() -> None:
        stream = NetworkStream(architecture, 8)
        stream.push(frames)
        stream.finish()
        n_rows = 0
        while (logits := stream.advance(network)) is not None:
            n_rows += len(logits)
        if n_rows != len(frames):
            raise SystemExit("the runner lost frames; nothing was timed")

    return seconds(decode, n_rounds) / 2.0


def beam_rtf(n_rounds: int) -> float:
    """Seconds a second of audio of a beam search that nothing prunes."""
    rows = np.full((500, 30), -np.log(30), np.float32)
    return seconds(lambda: PrefixBeamDecoder(beam=8).accept(rows, "large"), n_rounds) / 10.0


def digits_rtf(n_rounds: int) -> dict[str, float]:
    """Seconds a second of audio of the packaged model, by level."""
    recognizer = Recognizer.load()
    rate_hz = recognizer.sample_rate_hz
    assert rate_hz is not None
    strings = packaged_strings("dev")[:N_STRINGS]
    waves = [load_waveform(string, rate_hz) for string in strings]
    duration = sum(len(wave) for wave in waves) / rate_hz

    def decode(level: str) -> None:
        for wave in waves:
            recognizer.transcribe(wave, rate_hz, level=level)

    return {level: seconds(partial(decode, level), n_rounds) / duration for level in recognizer.levels}


if __name__ == "__main__":
    main()
