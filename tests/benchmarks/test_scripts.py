"""The benchmarks run, check what they time, and print a result of the common shape."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
SHORTER = {"kernels": ["--quick"]}
RIVALS = ("kernels", "network")  # their rivals need the extra `bench`
ROW = {"method", "set", "level", "metric", "value", "unit"}


def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def marked(name: str) -> object:
    """A benchmark that needs the extra `bench` may be skipped where that is missing."""
    return pytest.param(name, marks=pytest.mark.may_skip) if name in RIVALS else name


@pytest.mark.slow
@pytest.mark.parametrize("name", [marked(name) for name in NAMES])
def test_a_benchmark_prints_one_result(name):
    if name in RIVALS:
        pytest.importorskip("onnxruntime", reason="the rivals need the extra `bench`")
    done = run(name, "--json", "--rounds", "1", *SHORTER.get(name, ()))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"command", "commit", "machine", "seeds", "rows", "goals"} == set(result)
    assert result["rows"]
    assert all(set(row) >= ROW for row in result["rows"])
    assert all(goal["met"] or goal["why"] for goal in result["goals"])


@pytest.mark.parametrize("name", NAMES)
def test_no_rounds_are_refused(name):
    done = run(name, "--rounds", "0")
    assert done.returncode == 2
    assert done.stderr.endswith("error: --rounds is at least 1\n")
