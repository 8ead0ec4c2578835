"""LibriSpeech: read audio books, 1000 hours, 16 kHz. CC BY 4.0, openslr.org/12.

Source: its own layout, `LibriSpeech/<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac` with
        `<speaker>-<chapter>.trans.txt` beside the recordings; any choice of subsets.
Split:  the subset, for example `train-clean-100` or `dev-other`.
"""

from collections.abc import Iterator
from pathlib import Path

from sparrot.corpora.durations import audio_duration
from sparrot.corpora.lines import text_lines
from sparrot.corpora.manifest import Utterance, write_splits
from sparrot.text import normalise_text


def prepare(source: Path, out: Path) -> dict[str, Path]:
    """Writes one manifest a subset; returns them by subset.

    source: the folder `LibriSpeech`, the one it is in, or a subset of it.
    """
    transcripts = sorted(Path(source).absolute().rglob("*.trans.txt"))
    if not transcripts:
        raise ValueError(
            f"there is no LibriSpeech in {source}: it has files <subset>/<speaker>/<chapter>/*.trans.txt"
        )
    return write_splits(out, [utterance for path in transcripts for utterance in _chapter(path)])


def _chapter(transcript: Path) -> Iterator[Utterance]:
    """The utterances of one chapter, lines such as `84-121123-0000 GO DO YOU HEAR`."""
    subset, speaker = transcript.parts[-4:-2]
    for number, line in text_lines(transcript):
        name, _, text = line.partition(" ")
        path = transcript.parent / f"{name}.flac"
        if not path.is_file():
            raise ValueError(f"cannot prepare {transcript}, line {number}: there is no {path.name} beside it")
        yield Utterance(
            id=name,
            audio_path=path,
            duration=audio_duration(path),
            text=normalise_text(text),
            speaker=speaker,
            split=subset,
        )
