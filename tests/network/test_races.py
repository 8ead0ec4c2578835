"""The network without Python, in many threads, under the sanitizer that finds races."""

import pytest

from native import ARM, ROOT, X86, build, is_x86, run, tool

OTHERS = ("csrc/kernels/scalar", "csrc/kernels/dispatch", "csrc/layout/pieces", "csrc/layout/buffer")

pytestmark = [pytest.mark.slow, pytest.mark.may_skip, pytest.mark.timeout(3600)]


def test_streams_in_many_threads_race_in_nothing(tmp_path):
    """Levels, threads and segments change meanwhile; see races.cc."""
    compiler = tool("g++")
    files = {f"csrc/kernels/{name}": own for name, own in (X86 if is_x86() else ARM).items()}
    network = [f"csrc/network/{path.stem}" for path in sorted((ROOT / "csrc/network").glob("*.cc"))]
    files |= dict.fromkeys((*OTHERS, *network, "tests/network/races"), ())
    races = build(compiler, files, ("-O1", "-g", "-fsanitize=thread"), tmp_path / "races")
    assert "scalar: 0 callers got other bits" in run(races, TSAN_OPTIONS="halt_on_error=1")
