"""A model file made ready to run: its networks, one a level, built when they are first asked for."""

from dataclasses import dataclass
from threading import Lock

from sparrot.engine.network import Network
from sparrot.engine.timing import FrameClock
from sparrot.engine.words import WordMaker
from sparrot.model_file import LevelDescription, ModelFile


@dataclass(frozen=True, eq=False)
class PreparedLevel:
    """What a chunk takes from its level."""

    network: Network
    described: LevelDescription


class PreparedModel:
    """What all streams of a recogniser share; any thread may use it at any time.

    levels: of the file by name, densest first.
    """

    def __init__(self, model: ModelFile) -> None:
        self.description = model.description
        self.levels = {level.name: level for level in model.levels}
        self.clock = FrameClock.of(model.description.architecture, model.description.features)
        self.words = WordMaker(model.description.tokens, self.clock, self.levels)
        self._file = model
        self._ready: dict[str, PreparedLevel] = {}
        self._building = Lock()

    def check(self, level: str) -> None:
        """Nothing; raises ValueError if the file holds no such level. Builds nothing."""
        if level not in self.levels:
            self._file.level(level)

    def __getitem__(self, level: str) -> PreparedLevel:
        """The level, read from the file if this is its first use."""
        ready = self._ready.get(level)
        if ready is not None:
            return ready
        with self._building:
            if level not in self._ready:
                self._ready[level] = self._build(level)
            return self._ready[level]

    def _build(self, level: str) -> PreparedLevel:
        described = self._file.level(level)
        network = Network(self.description.architecture, self._file.parameters(level))
        return PreparedLevel(network, described)
