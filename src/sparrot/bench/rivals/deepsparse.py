"""DeepSparse 1.8.0, in a process and an environment of its own, as it needs older NumPy and ONNX.

Its interpreter is `$DEEPSPARSE_PYTHON`, or `deepsparse/bin/python` inside the environment that runs this.
"""

import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import numpy as np

from sparrot.bench.rivals.contestant import Contestant, Float32, Problem

WORKER = Path(__file__).with_name("deepsparse_worker.py")
TOLD = "DEEPSPARSE_PYTHON"


def interpreter() -> Path | None:
    """The Python that has DeepSparse, or None."""
    told = os.environ.get(TOLD)
    path = Path(told) if told else Path(sys.prefix) / "deepsparse" / "bin" / "python"
    return path if path.exists() else None


def prepare(problem: Problem) -> list[Contestant]:
    """One contestant, or none where DeepSparse is not installed."""
    python = interpreter()
    if python is None:
        return []
    worker = _Worker(python, problem)
    return [Contestant("DeepSparse", "sparse", "fp32", worker.run, worker.results, spins=True)]


class _Worker:
    """The other process: it waits on its standard input and computes only when asked to."""

    def __init__(self, python: Path, problem: Problem) -> None:
        self._shapes = [(problem.batch, len(matrix)) for matrix in problem.matrices]
        folder = tempfile.TemporaryDirectory(prefix="sparrot-deepsparse-")
        for place, (matrix, x) in enumerate(problem.pairs):
            np.save(f"{folder.name}/matrix{place}.npy", matrix)
            np.save(f"{folder.name}/input{place}.npy", x)
        self._folder = folder
        environment = {**os.environ, "NM_DISABLE_ANALYTICS": "1", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [python, "-P", WORKER, folder.name, str(len(problem.matrices))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        weakref.finalize(self, self._process.kill)
        if self._answer() != "ready":
            raise SystemExit(f"DeepSparse does not start with {python}; unset {TOLD} or reinstall it")

    def run(self, n_passes: int) -> list[list[float]]:
        """Seconds of each pass, measured over there."""
        return [[float(seconds)] for seconds in self._ask(f"run {n_passes}").split()]

    def results(self) -> list[Float32]:
        """What the last pass computed."""
        self._ask("save")
        return [np.load(f"{self._folder.name}/output{place}.npy") for place in range(len(self._shapes))]

    def _ask(self, request: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
