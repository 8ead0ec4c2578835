"""The benchmarks run, check what they time, and print a result of the common shape."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
ROW = {"method", "set", "level", "metric", "value", "unit", "spread", "threads"}


def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_a_benchmark_prints_one_result(name):
    done = run(name, "--json", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"command", "commit", "machine", "seeds", "rows", "goals"} == set(result)
    assert result["rows"]
    assert all(set(row) == ROW for row in result["rows"])
    metrics = {row["metric"] for row in result["rows"]}
    assert {goal["name"] for goal in result["goals"]} <= metrics


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_no_rounds_are_refused(name):
    done = run(name, "--rounds", "0")
    assert done.returncode == 2
    assert done.stderr.endswith("error: --rounds is at least 1\n")
