"""The next batches, made while the current one is trained on."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

_PATIENCE_S = 0.05  # between two looks at whether the other side is still there


def prefetched(items: Iterator[Item], ahead: int = 3) -> Iterator[Item]:
    """The same items in the same order, up to `ahead` of them made in a thread beforehand.

    Reading and computing features takes about as long as an update of a small network, and most of it
    happens outside of Python's lock. An exception comes out where its item would have; leaving early
    ends the thread.
    """
    maker = _Maker(items, ahead)
    maker.start()
    try:
        while True:
            made = maker.next()
            if isinstance(made, _End):
                if made.error is not None:
                    raise made.error
                return
            yield made
    finally:
        maker.left.set()
        maker.join()


@dataclass(frozen=True)
class _End:
    """After the last item, or in the place of the one that failed."""

    error: BaseException | None = None


class _Maker(Thread, Generic[Item]):
    """Takes items and puts them into a queue until they end or nobody wants them any more."""

    def __init__(self, items: Iterator[Item], ahead: int) -> None:
        super().__init__(name="prefetch", daemon=True)
        self.left = Event()
        self._items = items
        self._ready: Queue[Item | _End] = Queue(ahead)

    def run(self) -> None:
        """The work of the thread."""
        end = _End()
        try:
            for item in self._items:
                self._put(item)
                if self.left.is_set():
                    return
        except BaseException as error:  # the thread that waits for the item raises it
            end = _End(error)
        self._put(end)

    def next(self) -> "Item | _End":
        """The next item, in waits that Ctrl-C can interrupt."""
        while True:
            try:
                return self._ready.get(timeout=_PATIENCE_S)
            except Empty:
                if not self.is_alive() and self._ready.empty():
                    return _End(RuntimeError("the thread that makes batches ended without a word"))

    def _put(self, item: "Item | _End") -> None:
        while not self.left.is_set():
            with suppress(Full):
                self._ready.put(item, timeout=_PATIENCE_S)
                return
