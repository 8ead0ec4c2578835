"""A model file made ready to run: its network, with the levels that have been asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from sparrot import _core
from sparrot.engine.network import Network
from sparrot.engine.timing import FrameClock
from sparrot.engine.words import WordMaker
from sparrot.model_file import FormatError, Level, LevelDescription, ModelFile


class _Levels(dict[str, LevelDescription]):
    """The levels that have names, densest first; stops without one are found by their sparsity."""

    def __init__(self, model: ModelFile) -> None:
        super().__init__({level.name: level for level in model.levels})
        self._model = model

    def __missing__(self, name: str) -> LevelDescription:
        return self._model.level(name)


@dataclass(frozen=True, eq=False)
class PreparedLevel:
    """What a chunk takes from its level; the network holds at least its stop."""

    network: Network
    described: LevelDescription

    @property
    def stop(self) -> int:
        """The last segment that it uses."""
        return self.described.stop


class PreparedModel:
    """What all streams of a recogniser share; any thread may use it at any time.

    levels:  of the file by name, densest first.
    weights: `copy` reads them into memory of its own, in huge pages, from which products read fastest; `map`
             leaves them in the file's pages, which processes share.
    """

    def __init__(self, model: ModelFile, weights: Literal["copy", "map"] = "copy") -> None:
        if weights not in ("copy", "map"):
            raise ValueError(f"weights are copied or mapped: choose `copy` or `map`, not `{weights}`")
        self.description = model.description
        self.levels = _Levels(model)
        self.clock = FrameClock.of(model.description.architecture, model.description.features)
        self.words = WordMaker(model.description.tokens, self.clock, self.levels)
        self._file = model
        self._allocate = _huge_pages if weights == "copy" else None
        self._network: Network | None = None
        self._ready: dict[str, PreparedLevel] = {}
        self._reading = Lock()

    @property
    def network(self) -> Network:
        """The network, with its sparsest stop at least."""
        return self._network if self._network is not None else self._with_stop(0)

    def name(self, level: Level) -> str:
        """The name of a level, or of the stop that a sparsity means. Reads nothing.

        Raises ValueError if the file holds no such level.
        """
        return self._file.level_name(level)

    def __getitem__(self, level: str) -> PreparedLevel:
        """The level of this name, its weights read from the file if this is the first use of them."""
        ready = self._ready.get(level)
        if ready is None:
            described = self._file.level(level)
            ready = PreparedLevel(self._with_stop(described.stop), described)
            self._ready[level] = ready
        return ready

    def _with_stop(self, stop: int) -> Network:
        with self._reading:
            network = self._network
            if network is None:
                first = self._file.read_stop(0, self._allocate)
                with self._naming():
                    network = Network(self.description.architecture, first, verify=self._file.verify)
            while network.n_stops <= stop:
                following = self._file.read_stop(network.n_stops, self._allocate)
                with self._naming():
                    network.add_stop(following)
            self._network = network
            return network

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Says of which file an error is."""
        try:
            yield
        except FormatError as error:
            raise error.while_reading(self._file.path) from None


def _huge_pages(n_bytes: int) -> memoryview:
    return _core.new_pages(n_bytes).data
