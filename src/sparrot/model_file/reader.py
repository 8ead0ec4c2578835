"""Reading a model file: what it says of itself, and the parameters of any level that it holds."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from sparrot.model_file.contents import Contents, read_contents
from sparrot.model_file.description import (
    Calibration,
    FileDescription,
    LevelDescription,
    Measured,
    ModelDescription,
    Stop,
)
from sparrot.model_file.errors import FormatError
from sparrot.model_file.layout import MatrixLayout
from sparrot.model_file.prefix import without_denser, write_prefix
from sparrot.model_file.source import Source
from sparrot.model_file.stop_data import Allocate, StopData, aligned_memory, read_stop
from sparrot.model_file.stops import unpack_stops
from sparrot.model_file.strips import Float32
from sparrot.model_file.unnamed import Level, level_at, name_of_stop, sparsity_asked_for, stop_of_sparsity


class ModelFile:
    """An open model file. A level is read whenever it is asked for, by any thread, and not kept."""

    def __init__(self, path: Path, source: Source, contents: Contents, *, verify: bool) -> None:
        self.path = path
        self._source = source
        self._contents = contents
        self._verify = verify

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = True) -> "ModelFile":
        """The model file at `path`, its header checked.

        A file that was cut at or after the end of a level opens with the levels that are left, and a
        warning. `verify=False` skips the checksums and the search for weights that are not finite.

        Raises: FormatError, with the field and the byte, if it is no model file, or a damaged one; OSError
        if it cannot be read.
        """
        path = Path(path)
        source = Source(path)
        try:
            contents = read_contents(source)
        except FormatError as error:
            raise error.while_reading(path) from None
        opened = cls(path, source, contents, verify=verify)
        if opened.missing_levels:
            warnings.warn(
                f"{path} is cut at byte {source.n_bytes}: it still holds {_list(opened.levels)}, and "
                f"{', '.join(opened.missing_levels)} is missing",
                stacklevel=2,
            )
        return opened

    @property
    def verify(self) -> bool:
        """Whether checksums are compared and weights searched for values that are not finite."""
        return self._verify

    @property
    def description(self) -> ModelDescription:
        """What the model is, whatever its level."""
        return self._contents.file.model

    @property
    def matrices(self) -> tuple[MatrixLayout, ...]:
        """How each matrix is stored, in the order of the architecture."""
        return self._contents.file.matrices

    @property
    def stops(self) -> tuple[Stop, ...]:
        """The stops that are there in full, sparsest first."""
        return self._contents.file.stops[: self._contents.n_stops]

    @property
    def levels(self) -> list[LevelDescription]:
        """The levels that are there in full, densest first."""
        return [level for level in self._contents.file.levels if level.stop < self._contents.n_stops]

    @property
    def missing_levels(self) -> list[str]:
        """Names of the levels that were cut off the file, densest first."""
        return [level.name for level in self._contents.file.levels if level.stop >= self._contents.n_stops]

    def level(self, level: Level) -> LevelDescription:
        """The level of that name, or the stop whose overall sparsity is nearest to a number from 0 to 1.

        A stop without a level is called by its sparsity, and takes what is no weight from the next denser
        level. Of two equally near stops it is the denser.

        Raises: ValueError, with the nearest, if the file holds none.
        """
        for named in self.levels:
            if named.name == level:
                return named
        return level_at(self._stop_of(level), self._contents.file)

    def level_name(self, level: Level) -> str:
        """The name of what `level` returns, without the work of describing it."""
        for named in self.levels:
            if named.name == level:
                return named.name
        return name_of_stop(self._stop_of(level), self._contents.file)

    def named_level(self, name: str) -> LevelDescription:
        """The level of that name. Raises ValueError if the file holds none, or the name is a sparsity's."""
        level = self.level(name)
        if level not in self.levels:
            raise ValueError(
                f"{self.path} has no name for `{name}`, and this takes one: {_list(self.levels)}"
            )
        return level

    def level_bytes(self, level: Level) -> int:
        """Bytes of the file up to the end of a level: what must be read, or sent, to run it."""
        return self.stop_bytes(self.level(level).stop)

    def stop_bytes(self, stop: int) -> int:
        """Bytes of the file up to the end of a stop."""
        return self._contents.stop_range(stop)[1]

    def parameters(self, level: Level) -> dict[str, Float32]:
        """Every parameter at a level, with zeros where the level drops weights.

        Returns: float32 by name, whatever the type in the file: matrices (rows, columns) and vectors
                 (size,) in the order of the architecture, not to be written to; read anew at every call.
        Raises:  FormatError if the level's bytes are damaged; ValueError if there is no such level.
        """
        return self._read(self.level(level).stop)

    def read_stop(self, stop: int, allocate: Allocate | None = aligned_memory) -> StopData:
        """The tensors of a stop's own range as they lie in the file, to run them in place.

        A level needs the ranges of all stops up to its own; that of stop 0 begins with the base. The bytes
        are read into what `allocate` returns for their number: writable memory of at least as many,
        beginning at a multiple of 64 bytes if the tensors are to. Without it they stay in the file, which
        is mapped: its pages are shared by all processes that do so. Whoever runs them checks the indices.

        Raises: FormatError if the bytes are cut or damaged; ValueError if there is no such stop.
        """
        if not 0 <= stop < len(self.stops):
            raise ValueError(f"no stop {stop} in {self.path}, which holds stops 0 to {len(self.stops) - 1}")
        try:
            return read_stop(self._source, self._contents, stop, verify=self._verify, allocate=allocate)
        except FormatError as error:
            raise error.while_reading(self.path) from None

    def require_whole(self) -> None:
        """Nothing; raises ValueError if levels were cut off the file, of which no other can then be made."""
        if self.missing_levels:
            raise ValueError(f"{self.path} is cut; take the whole file, or a copy with fewer levels")

    def max_level_copy(self, path: Path | str, level: str) -> None:
        """Nothing; writes to `path` a complete file that ends with `level` and holds all sparser ones.

        Raises: FormatError if the copied bytes are damaged; ValueError if there is no level of that name.
        """
        self._write_prefix(path, without_denser(self._contents.file, self.named_level(level)))

    def _read(self, stop: int) -> dict[str, Float32]:
        file = self._contents.file
        try:
            stops = (read_stop(self._source, self._contents, k, verify=self._verify) for k in range(stop + 1))
            parameters = unpack_stops(stops, file, verify=self._verify)
        except FormatError as error:
            raise error.while_reading(self.path) from None
        for array in parameters.values():
            array.flags.writeable = False
        return parameters

    def _write_prefix(self, path: Path | str, file: FileDescription) -> None:
        try:
            write_prefix(path, self._source, self._contents, file)
        except FormatError as error:
            raise error.while_reading(self.path) from None

    def _stop_of(self, level: Level) -> int:
        share = sparsity_asked_for(level)
        if share is None or level in self.missing_levels:
            raise ValueError(self._no_level(str(level)))
        return stop_of_sparsity(share, self._contents.file, len(self.stops))

    def _no_level(self, name: str) -> str:
        import difflib  # 5 ms, and only needed here

        if name in self.missing_levels:
            return f"level `{name}` was cut off {self.path}, which still holds {_list(self.levels)}"
        nearest = difflib.get_close_matches(name, [level.name for level in self.levels], 1)
        hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
        return (
            f"no level `{name}` in {self.path}: it holds {_list(self.levels)}.{hint} "
            f"A number from 0 to 1 means the stop of the nearest sparsity, and `sparrot inspect {self.path}` "
            "lists them all."
        )


def with_measured(path: Path | str, measured: Mapping[str, Measured]) -> None:
    """Nothing; adds accuracies, by level and data set, to a model file's header, in place of older ones.

    Raises: ValueError if the file has no such level, was cut, or an accuracy is not {wer, cer, words}.
    """

    def added(level: LevelDescription) -> LevelDescription:
        return replace(level, measured={**level.measured, **measured.get(level.name, {})})

    _rewrite(path, measured, added)


def with_calibration(path: Path | str, calibrations: Mapping[str, Calibration]) -> None:
    """Nothing; puts calibrations, by level, into a model file's header, in place of all that was measured.

    Raises: ValueError if the file has no such level, was cut, or a value cannot be in a model file.
    """

    def calibrated(level: LevelDescription) -> LevelDescription:
        if level.name not in calibrations:
            return level
        given = calibrations[level.name]
        return replace(
            level,
            blank_penalty=given.blank_penalty,
            confidence_temperature=given.confidence_temperature,
            measured=given.measured,
        )

    _rewrite(path, calibrations, calibrated)


def _rewrite(
    path: Path | str, names: Iterable[str], changed: Callable[[LevelDescription], LevelDescription]
) -> None:
    """Nothing; writes the file at `path` anew with other descriptions of its levels."""
    file = ModelFile.open(path)
    file.require_whole()
    for name in names:
        file.named_level(name)
    file._write_prefix(path, replace(file._contents.file, levels=tuple(map(changed, file.levels))))


def _list(levels: Iterable[LevelDescription]) -> str:
    named = [f"{level.name} ({100 * level.overall_sparsity:.0f} %)" for level in levels]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
