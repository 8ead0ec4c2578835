"""A Kaldi data directory: `wav.scp`, `text`, `utt2spk` and, where recordings are cut, `segments`.

Paths in `wav.scp` are relative to the directory, or absolute. Commands (lines that
end in a pipe) are never run: they are refused.
"""

from dataclasses import dataclass
from pathlib import Path

from sparrot.audio import Seconds
from sparrot.corpora.durations import audio_duration
from sparrot.corpora.lines import text_lines
from sparrot.corpora.manifest import Utterance, write_splits
from sparrot.text import normalise_text

_ROUNDING: Seconds = 1e-6  # under half a sample at any common rate


@dataclass(frozen=True)
class _Part:
    """A stretch of a recording; `end` is None for the end of the file."""

    recording: str
    start: Seconds | None = None
    end: Seconds | None = None


def prepare(source: Path, out: Path, *, normalised: bool = False) -> dict[str, Path]:
    """Writes the manifest of a directory as a split of its name; returns it by that name.

    normalised: whether texts go through `normalise_text`; otherwise they stay as they are.
    """
    source = Path(source).absolute()
    paths = {name: _audio_path(source, line) for name, line in _table(source / "wav.scp").items()}
    texts, speakers = _table(source / "text"), _table(source / "utt2spk")
    lengths = {name: audio_duration(path) for name, path in paths.items()}
    parts = _parts(source, lengths)
    for file, names in (("text", texts), ("utt2spk", speakers)):
        lacking = [name for name in parts if name not in names]
        if lacking:
            raise ValueError(
                f"cannot prepare {source}: {len(lacking)} of {len(parts)} utterances are not in `{file}`, "
                f"{lacking[0]} first; Kaldi's utils/fix_data_dir.sh takes them out"
            )
    return write_splits(
        out,
        [
            Utterance(
                id=name,
                audio_path=paths[part.recording],
                start=part.start,
                duration=(part.end or lengths[part.recording]) - (part.start or 0.0),
                text=normalise_text(texts[name]) if normalised else texts[name],
                speaker=speakers[name],
                split=source.name,
            )
            for name, part in parts.items()
        ],
    )


def _table(path: Path) -> dict[str, str]:
    """The lines `key value` of a file."""
    if not path.is_file():
        raise ValueError(f"cannot prepare {path.parent}: a Kaldi directory has a file `{path.name}`")
    table: dict[str, str] = {}
    for number, line in text_lines(path):
        key, value = (*line.split(maxsplit=1), "", "")[:2]
        if not key or key in table:
            raise ValueError(
                f"cannot read {path}, line {number}: every line begins with a key of its own, got {line!r}"
            )
        table[key] = value.strip()
    return table


def _audio_path(source: Path, line: str) -> Path:
    if line.endswith("|"):
        raise ValueError(
            f"cannot prepare {source}: `wav.scp` has the command {line!r}, and commands are not run; write "
            f"its output to a file and put the path of that file there"
        )
    path = source / line
    if not path.is_file():
        raise ValueError(f"cannot prepare {source}: `wav.scp` names {line!r}, and there is no {path}")
    return path


def _parts(source: Path, lengths: dict[str, Seconds]) -> dict[str, _Part]:
    """The stretch of every utterance: whole recordings, unless there are segments."""
    if not (source / "segments").is_file():
        return {name: _Part(name) for name in lengths}
    return {name: _part(source, line, lengths) for name, line in _table(source / "segments").items()}


def _part(source: Path, line: str, lengths: dict[str, Seconds]) -> _Part:
    """The stretch that a line `recording start end` of `segments` says, without its key."""
    recording, *times = line.split() or [""]
    try:
        start, end = map(float, times)
    except ValueError:  # not two, or no numbers: refused below
        start, end = 0.0, 0.0
    if recording not in lengths or not 0 <= start < end:
        raise ValueError(
            f"cannot prepare {source}: `segments` needs `utterance recording start end` with a recording of "
            f"`wav.scp` and seconds that rise; got {line!r}"
        )
    if end > lengths[recording] + _ROUNDING:
        raise ValueError(
            f"cannot prepare {source}: `segments` has {line!r}, which is too long; `{recording}` ends after "
            f"{lengths[recording]:.3f} s"
        )
    return _Part(recording, start, end)
