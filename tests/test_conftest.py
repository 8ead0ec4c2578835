"""The rule that a skipped test fails the run, unless it is marked as one that may be."""

import subprocess
import sys
from pathlib import Path

RULES = Path(__file__).with_name("conftest.py").read_text()
PASSES = "import pytest\n\ndef test_passes():\n    pass\n"


def run(folder: Path, **sources: str) -> subprocess.CompletedProcess[str]:
    """A pytest of its own over some files, under the rules of this one."""
    (folder / "conftest.py").write_text(RULES)
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(PASSES + source)
    options = ["-p", "no:cacheprovider", "--strict-markers", "-o", "addopts=", str(folder)]
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)


def test_every_kind_of_skip_fails_the_run(tmp_path):
    done = run(
        tmp_path,
        test_in_a_test="def test_skipped():\n    pytest.skip('nothing here')\n",
        test_in_a_file="pytest.skip('the whole file', allow_module_level=True)\n",
        test_for_want="pytest.importorskip('no_such_module_at_all')\n",
    )
    assert done.returncode == 1, done.stdout
    assert done.stdout.count("SKIPPED, which only") == 3


def test_a_marked_skip_does_not(tmp_path):
    done = run(
        tmp_path, test_one="@pytest.mark.may_skip\ndef test_skipped():\n    pytest.skip('nothing here')\n"
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
