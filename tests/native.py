"""Programs of the C++ part without Python, compiled by the tests that run them."""

import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLAGS = (
    "-std=c++20",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wshadow",
    "-Werror",
)
AVX512 = ("-march=x86-64-v4", "-mprefer-vector-width=512", "-Wno-uninitialized")
X86 = {
    "avx2": ("-march=x86-64-v3",),
    "avx512": AVX512,
    "avx512vnni": (*AVX512, "-mavx512vnni", "-mavx512bf16", "-mavx512vbmi"),
}
LOOPS = ("-fopenmp-simd", "-fno-trapping-math", "-ffp-contract=fast")
ARM = {"neon": (), "neondot": ("-march=armv8.2-a+dotprod",)}


def run(*command: object, **environment: str) -> str:
    """What a command prints; fails the test if it fails."""
    words = [str(word) for word in command]
    if environment:
        words = ["env", *(f"{name}={value}" for name, value in environment.items()), *words]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> str:
    """Where a program is; skips the test if it is not there."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}")
    return found


def is_x86() -> bool:
    return platform.machine() in ("x86_64", "AMD64")


def build(compiler: str, files: Mapping[str, tuple[str, ...]], flags: tuple[str, ...], program: Path) -> Path:
    """The program, every file of it compiled with `flags` and with flags of its own."""
    objects = []
    for name, own in files.items():
        objects.append(program.parent / f"{Path(name).name}.o")
        run(compiler, *FLAGS, *flags, *own, "-Icsrc", "-c", f"{name}.cc", "-o", objects[-1])
    run(compiler, *flags, *objects, "-o", program)
    return program
