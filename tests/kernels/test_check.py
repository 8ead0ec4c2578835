"""The kernels without Python: under sanitizers, for ARM under an emulator, and each file for itself."""

from pathlib import Path

import pytest

from native import ARM, FLAGS, LOOPS, ROOT, X86, build, is_x86, run, tool

OTHERS = ("csrc/kernels/scalar", "csrc/kernels/dispatch", "csrc/layout/pieces", "csrc/layout/buffer")

pytestmark = [pytest.mark.slow, pytest.mark.may_skip, pytest.mark.timeout(3600)]


def build_check(
    compiler: str, sets: dict[str, tuple[str, ...]], flags: tuple[str, ...], folder: Path
) -> Path:
    kernels = {f"csrc/kernels/{name}": own for name, own in sets.items()}
    others = dict.fromkeys((*OTHERS, "tests/kernels/check"), ())
    return build(compiler, kernels | others, flags, folder / "check")


def test_every_file_of_kernels_is_checked():
    files = {path.stem for path in (ROOT / "csrc/kernels").glob("*.cc")}
    assert files == {*X86, *ARM, "scalar", "dispatch"}


def test_nothing_is_undefined_or_out_of_bounds(tmp_path):
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    check = build_check(tool("g++"), X86 if is_x86() else ARM, flags, tmp_path)
    assert "scalar: 0 of" in run(check)


def test_arm_agrees(tmp_path):
    compiler, emulator = tool("aarch64-linux-gnu-g++"), tool("qemu-aarch64")
    printed = run(emulator, build_check(compiler, ARM, ("-O2", "-static"), tmp_path))
    for name in (*ARM, "scalar"):
        assert f"{name}: 0 of" in printed


PER_PROCESSOR = {f"csrc/kernels/{name}": own for name, own in X86.items()} | {
    f"csrc/training/lattice_{name}": (*LOOPS, *X86[name]) for name in ("avx2", "avx512")
}


@pytest.mark.parametrize("file", PER_PROCESSOR)
def test_files_for_different_processors_share_no_inline_function(file, tmp_path):
    """The linker keeps one copy of such a function, and it may be the one that the processor cannot run."""
    if not is_x86():
        pytest.skip("this processor has no AVX")
    nm, compiled = tool("nm"), tmp_path / "object.o"
    flags = (*FLAGS, "-O3", *PER_PROCESSOR[file])
    run(tool("g++"), *flags, "-Icsrc", "-c", f"{file}.cc", "-o", compiled)
    defined = [line.split()[-2:] for line in run(nm, "--defined-only", compiled).splitlines()]
    assert [symbol for kind, symbol in defined if kind in "WVuvwi"] == []
    assert len([symbol for kind, symbol in defined if kind.isupper()]) == 1
