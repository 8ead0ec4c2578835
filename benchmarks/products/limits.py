"""What this processor can do at most, measured in turn with the products it is compared with."""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from products.rounds import Entry
from sparrot.bench.rivals.contestant import Contestant, Problem, Type

SOURCE = Path(__file__).with_name("limits.cc")
REPEATS = 20_000
PEAKS: dict[Type, tuple[str, int]] = {  # functions, and the bytes of a weight
    "fp32": ("MultiplyFloats", 4),
    "bf16": ("MultiplyBFloats", 2),
    "int8": ("MultiplyCodes", 1),
}
HUGE_PAGE = 2 << 20
MADV_HUGEPAGE = 14


@dataclass(frozen=True, eq=False)
class Limit:
    """A contestant that only reads, or only multiplies.

    amount: of bytes or of operations in a pass.
    """

    contestant: Contestant
    amount: float

    def entry(self) -> Entry:
        """Its part in a race."""
        return Entry(self.contestant, Problem((), ()), 0.0, "")


@cache
def library() -> ctypes.CDLL | None:
    """The compiled limits.cc, or None without a C++ compiler."""
    folder = tempfile.mkdtemp(prefix="sparrot-limits-")
    target = f"{folder}/limits.so"
    command = ["c++", "-std=c++20", "-O3", "-march=native", "-shared", "-fPIC", "-o", target, str(SOURCE)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    loaded = ctypes.CDLL(target)
    for name in ("ReadAll", *(name for name, _ in PEAKS.values())):
        getattr(loaded, name).restype = ctypes.c_double
    return loaded


def reading(n_bytes: int) -> Limit | None:
    """Reading so many bytes in sequence, again and again; None without a compiler."""
    compiled = library()
    if compiled is None:
        return None
    n_bytes = -(-n_bytes // 512) * 512
    memory = _in_huge_pages(n_bytes)
    address, size = ctypes.c_void_p(memory.ctypes.data), ctypes.c_size_t(n_bytes)
    return Limit(_only("reading", "fp32", lambda _held=memory: compiled.ReadAll(address, size)), n_bytes)


def multiplying(number: Type) -> Limit | None:
    """Multiplying and adding in registers; None without a compiler or such an instruction."""
    compiled = library()
    if compiled is None:
        return None
    name, n_bytes = PEAKS[number]
    function, repeats = getattr(compiled, name), ctypes.c_size_t(REPEATS)
    if not function(repeats):
        return None
    amount = compiled.Operations(ctypes.c_size_t(n_bytes)) * REPEATS
    return Limit(_only("multiplying", number, lambda: function(repeats)), amount)


def _only(name: str, number: Type, seconds: Callable[[], float]) -> Contestant:
    def run(n_passes: int) -> list[list[float]]:
        return [[seconds()] for _ in range(n_passes)]

    return Contestant(f"limit, {name}", "dense", number, run, list)


def _in_huge_pages(n_bytes: int) -> Any:
    """Memory of ones, in pages of 2 MiB where the system gives them, as weights are."""
    memory = np.empty(n_bytes + 2 * HUGE_PAGE, np.uint8)
    memory = memory[-memory.ctypes.data % HUGE_PAGE :]
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is not None:
        advise(ctypes.c_void_p(memory.ctypes.data), ctypes.c_size_t(len(memory)), MADV_HUGEPAGE)
    memory.fill(1)
    return memory[:n_bytes]
