"""One manifest format for every corpus: JSONL, one utterance a line, paths relative to the manifest.

    {"id": "an251", "audio_path": "wav/an251.flac", "duration": 1.0, "text": "yes", "speaker": "fash"}

`id`, `duration` and `text` are required, and exactly one of `audio_path`, `feature_path` and `segments`.
`start` (seconds into the audio file) and `duration` choose a part of it. `segments` is a list of
{"audio_path", "start", "duration", "gap"}: pieces joined end to end, each after `gap` seconds of silence,
the last one followed by `tail` seconds. Every other field is kept in `others`.
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparrot.atomic import atomic_write
from sparrot.audio import Seconds
from sparrot.corpora.lines import numbered_lines, parsed

_LONGEST: Seconds = 1e9
_N_NAMED = 3  # missing files that an error names before it only counts


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of an audio file in a joined utterance, with the silence that comes before it."""

    audio_path: Path
    start: Seconds
    duration: Seconds
    gap: Seconds

    def __post_init__(self) -> None:
        for name in ("start", "duration", "gap"):
            _require_seconds(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What was said, by whom, and where the sound or the features of it are.

    duration: seconds from its first to its last sample; with `segments`, gaps and tail included.
    others:   fields of the manifest that have no meaning here, as they were read.
    Raises:   ValueError unless there is exactly one of `audio_path`, `feature_path` and `segments`, and if
              a time is negative or not finite.
    """

    id: str
    duration: Seconds
    text: str
    speaker: str | None = None
    split: str | None = None
    audio_path: Path | None = None
    feature_path: Path | None = None
    start: Seconds | None = None
    segments: tuple[Segment, ...] = ()
    tail: Seconds = 0.0
    others: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        sources = [self.audio_path is not None, self.feature_path is not None, bool(self.segments)]
        if not self.id:
            raise ValueError("`id` is empty; every utterance needs a name of its own")
        if sum(sources) != 1:
            raise ValueError(
                f"an utterance has exactly one of `audio_path`, `feature_path` and `segments`; "
                f"this one has {sum(sources)}"
            )
        if self.start is not None and self.audio_path is None:
            raise ValueError("`start` has a meaning only beside `audio_path`")
        for name in ("duration", "start", "tail"):
            if getattr(self, name) is not None:
                _require_seconds(name, getattr(self, name))

    def paths(self) -> list[Path]:
        """Every file it needs."""
        whole = self.audio_path or self.feature_path
        return [whole] if whole else [segment.audio_path for segment in self.segments]


def read_manifest(path: str | Path, *, require_files: bool = True) -> list[Utterance]:
    """The utterances of a manifest in their order, with absolute paths.

    require_files: whether a missing audio or feature file is an error; all are looked for at once.
    Raises: ValueError that names the file and the line; FileNotFoundError if the manifest is missing.
    """
    path = Path(path)
    utterances: list[Utterance] = []
    lines: dict[str, int] = {}
    for number, found in _entries(path):
        if isinstance(found, str):
            raise ValueError(f"cannot read {path}, line {number}: {found}")
        if found.id in lines:
            raise ValueError(
                f"cannot read {path}, line {number}: the id {found.id!r} is also on line {lines[found.id]}; "
                f"ids are unique"
            )
        lines[found.id] = number
        utterances.append(found)
    if require_files:
        _require_files(path, utterances)
    return utterances


def read_leniently(path: str | Path) -> tuple[list[Utterance], dict[int, str]]:
    """The utterances of a manifest, repeated ids included, and what is wrong with every other line.

    Files are not looked for. Raises FileNotFoundError if the manifest is missing, ValueError if it is empty.
    """
    entries = dict(_entries(Path(path)))
    utterances = [found for found in entries.values() if isinstance(found, Utterance)]
    return utterances, {number: found for number, found in entries.items() if isinstance(found, str)}


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Writes a manifest atomically; its paths are relative to its folder, which is made if need be.

    Raises: ValueError if there is no utterance, or if two have one id.
    """
    path = Path(path)
    _write(path, _content(path, list(utterances)))


def write_splits(folder: str | Path, utterances: Sequence[Utterance]) -> dict[str, Path]:
    """Writes one manifest a split, `<folder>/<split>.jsonl`; returns where they are.

    Utterances without a split go to `all`. Nothing is written unless all of it can be.

    Raises: ValueError if there is no utterance, if two of a split have one id, or if the name of a split
            cannot be that of a file.
    """
    if not utterances:
        raise ValueError(f"there is nothing to write to {folder}: no utterance was found")
    splits: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        splits[utterance.split or "all"].append(utterance)
    for split in splits:
        if not re.fullmatch(r"\w[\w.-]*", split):
            raise ValueError(f"a split cannot be called {split!r}; use letters, digits, `_`, `-` and `.`")
    paths = {split: Path(folder) / f"{split}.jsonl" for split in splits}
    contents = {path: _content(path, splits[split]) for split, path in paths.items()}
    for path, content in contents.items():
        _write(path, content)
    return paths


def missing_files(utterances: Iterable[Utterance]) -> list[Path]:
    """The files that utterances need and that do not exist, each once, in the order of need."""
    needed = dict.fromkeys(path for utterance in utterances for path in utterance.paths())
    return [path for path in needed if not path.is_file()]


def _content(path: Path, utterances: Sequence[Utterance]) -> bytes:
    """The manifest of utterances for `path`. Raises ValueError if there is none, or an id is used twice."""
    repeated = [name for name, n in Counter(u.id for u in utterances).items() if n > 1]
    if repeated or not utterances:
        found = (
            f"{len(repeated)} ids are used twice, {repeated[0]!r} first"
            if repeated
            else "no utterance was found"
        )
        raise ValueError(
            f"cannot write the manifest {path}: {found}; it needs utterances with ids of their own"
        )
    folder = path.parent.resolve()
    described = [_described(utterance, folder) for utterance in utterances]
    try:
        lines = [json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in described]
        return "".join(lines).encode()
    except ValueError as error:
        raise ValueError(f"cannot write the manifest {path}: {error}") from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content)


def _entries(path: Path) -> Iterator[tuple[int, Utterance | str]]:
    """What is on each line of a manifest that is not blank: an utterance, or what is wrong with the line."""
    folder = path.parent.resolve()
    try:
        lines = [(number, line) for number, line in numbered_lines(path) if line.strip()]
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no manifest {path}; `sparrot data prepare` makes one") from None
    if not lines:
        raise ValueError(f"the manifest {path} is empty: it needs one JSON object a line")
    for number, line in lines:
        found: Utterance | str
        try:
            found = _utterance(parsed(line), folder)
        except ValueError as error:
            found = str(error)
        yield number, found


def _require_files(path: Path, utterances: list[Utterance]) -> None:
    missing = missing_files(utterances)
    if missing:
        named = ", ".join(str(file) for file in missing[:_N_NAMED])
        more = ", …" if len(missing) > _N_NAMED else ""
        raise ValueError(
            f"the manifest {path} needs {len(missing)} file(s) that cannot be found: {named}{more}; "
            f"paths are relative to the manifest's folder"
        )


# The fields that mean something: JSON type, what to call it, and whether it must be there.
_FIELDS: dict[str, tuple[type, str, bool]] = {
    "id": (str, "a string", True),
    "duration": (float, "a number of seconds", True),
    "text": (str, "a string", True),
    "speaker": (str, "a string", False),
    "split": (str, "a string", False),
    "audio_path": (str, "a string", False),
    "feature_path": (str, "a string", False),
    "start": (float, "a number of seconds", False),
    "segments": (list, "a list", False),
    "tail": (float, "a number of seconds", False),
}
_SEGMENT_FIELDS: dict[str, tuple[type, str, bool]] = {
    "audio_path": (str, "a string", True),
    "start": (float, "a number of seconds", True),
    "duration": (float, "a number of seconds", True),
    "gap": (float, "a number of seconds", True),
}


def _utterance(described: Any, folder: Path) -> Utterance:
    known, others = _fields(described, _FIELDS, "an utterance")
    for name in ("audio_path", "feature_path"):
        if name in known:
            known[name] = _absolute(folder, known[name])
    known["segments"] = tuple(_segment(segment, folder) for segment in known.get("segments", ()))
    return Utterance(**known, others=others)


def _segment(described: Any, folder: Path) -> Segment:
    known, unknown = _fields(described, _SEGMENT_FIELDS, "a segment")
    if unknown:
        raise ValueError(
            f"a segment has the fields {', '.join(_SEGMENT_FIELDS)}; got `{next(iter(unknown))}`"
        )
    return Segment(**known | {"audio_path": _absolute(folder, known["audio_path"])})


def _fields(
    described: Any, expected: Mapping[str, tuple[type, str, bool]], what: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of an object that are expected, checked for type, and the others."""
    if not isinstance(described, dict):
        raise ValueError(f"{what} is a JSON object, not {described!r:.80}")
    for name, (_, _, required) in expected.items():
        if required and described.get(name) is None:
            raise ValueError(f"{what} needs the field `{name}`, which is missing")
    known = {name: value for name, value in described.items() if name in expected and value is not None}
    for name, value in known.items():
        wanted, described_as, _ = expected[name]
        if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool):
            raise ValueError(f"`{name}` must be {described_as}; got {value!r:.80}")
    return known, {name: value for name, value in described.items() if name not in expected}


def _described(utterance: Utterance, folder: Path) -> dict[str, Any]:
    """The JSON object of an utterance, without the fields that say nothing."""
    described = {name: getattr(utterance, name) for name in _FIELDS}
    for name in ("audio_path", "feature_path"):
        described[name] = _relative(folder, described[name])
    described["segments"] = [
        {name: getattr(s, name) for name in _SEGMENT_FIELDS} | {"audio_path": _relative(folder, s.audio_path)}
        for s in utterance.segments
    ] or None
    described["tail"] = utterance.tail if utterance.segments else None
    return {name: value for name, value in described.items() if value is not None} | dict(utterance.others)


def _absolute(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / path))


def _relative(folder: Path, path: Path | None) -> str | None:
    """A path as a manifest in `folder` writes it: with forward slashes on every system."""
    return None if path is None else Path(os.path.relpath(path, folder)).as_posix()


def _require_seconds(name: str, value: float) -> None:
    if not 0 <= value <= _LONGEST:  # NaN is in no range
        raise ValueError(f"`{name}` must be a number of seconds from 0 to {_LONGEST:.0e}; got {value}")
