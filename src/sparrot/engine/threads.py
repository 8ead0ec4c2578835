"""The threads that the engine computes on."""

from numbers import Integral
from typing import TypeGuard

from sparrot import _core

MAX_THREADS = 256


def set_threads(n: int) -> None:
    """Lets the engine of this process compute on `n` threads, the caller's own counted; 1 until it is called.

    One call uses them for streams that are decoded together, and for a single one whose matrices are large:
    those under 0.3 MB are not worth a second thread. A caller that finds them busy runs alone. A stream by
    itself gives the same bits on any number of them, and with int8 weights every stream does.

    Where the system has no room for so many, fewer compute.

    Raises: ValueError unless it is a whole number from 1 to 256.
    """
    if not _is_whole(n) or not 1 <= n <= MAX_THREADS:
        raise ValueError(f"the engine computes on 1 to {MAX_THREADS} threads; got {n!r}")
    _core.set_threads(int(n))


def threads() -> int:
    """How many threads the engine computes on."""
    return _core.threads()


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)
