"""CMU AN4: spelled words, numbers and commands, 84 speakers, 948 + 130 utterances.

Source: the CMU Sphinx group; BSD-like licence. It comes as 16 kHz audio or as 13-dimensional MFCC.
Split:  test is official. Dev, ours, is ten of the 74 training speakers: sorted by name, the first of
        every seven, ten times. Names begin with f or m, so that both sexes are in it as in train.
"""

import dataclasses
import re
from pathlib import Path

from sparrot.corpora.durations import measured
from sparrot.corpora.lines import text_lines
from sparrot.corpora.manifest import Utterance, read_manifest, write_splits
from sparrot.text import normalise_text

DEV_SPEAKERS = ("fash", "fjmd", "fnsv", "mblb", "mcsc", "meht", "mjdr", "mmaf", "mnfe", "msct")

# Where the files of `etc/*.fileids` may be, audio first: folder and suffix.
_PLACES = (("wav", ".flac"), ("wav", ".wav"), ("wav", ".sph"), ("feat", ".mfc"))
_TRANSCRIPTION = re.compile(r"(?:<s>)?(?P<text>[^<(]*)(?:</s>)?\s*\((?P<id>[^()]+)\)\s*")


def prepare(source: Path, out: Path) -> dict[str, Path]:
    """Writes train, dev and test manifests of a copy of the corpus; returns them by split.

    source: a folder with the original layout, `etc/an4_{train,test}.{fileids,transcription}` beside `wav/`
            or `feat/`, or one with a `manifest.jsonl` that says train or test of every utterance.
    """
    source = Path(source)
    if (source / "manifest.jsonl").is_file():
        found = [measured(utterance) for utterance in read_manifest(source / "manifest.jsonl")]
    elif (source / "etc" / "an4_train.fileids").is_file():
        found = [utterance for split in ("train", "test") for utterance in _official(source, split)]
    else:
        raise ValueError(f"there is no AN4 in {source}: it needs etc/an4_train.fileids or manifest.jsonl")
    return write_splits(out, [_in_dev(utterance) for utterance in found])


def _in_dev(utterance: Utterance) -> Utterance:
    """The utterance, in dev if it is a training utterance of a dev speaker."""
    moved = utterance.split == "train" and utterance.speaker in DEV_SPEAKERS
    return dataclasses.replace(utterance, split="dev") if moved else utterance


def _official(source: Path, split: str) -> list[Utterance]:
    """The utterances of one official list."""
    ids = (source / "etc" / f"an4_{split}.fileids").read_text().split()
    texts = _transcriptions(source / "etc" / f"an4_{split}.transcription")
    return [_utterance(source, file_id, texts, split) for file_id in ids]


def _transcriptions(path: Path) -> dict[str, str]:
    """The texts of lines such as `<s> GO </s> (an253-fash-b)`, by the name in brackets."""
    texts = {}
    for number, line in text_lines(path):
        match = _TRANSCRIPTION.fullmatch(line)
        if match is None:
            raise ValueError(f"cannot read {path}, line {number}: {line!r} is not `TEXT (name)`")
        texts[match["id"].strip()] = normalise_text(match["text"])
    return texts


def _utterance(source: Path, file_id: str, texts: dict[str, str], split: str) -> Utterance:
    """The utterance `an4_clstk/<speaker>/<name>`, as audio if there is audio."""
    name, speaker = Path(file_id).name, Path(file_id).parent.name
    if name not in texts:
        raise ValueError(
            f"cannot prepare AN4: {name} is in the {split} list of {source} and has no transcription"
        )
    for folder, suffix in _PLACES:
        path = source / folder / f"{file_id}{suffix}"
        if path.is_file():
            audio, features = (None, path) if folder == "feat" else (path, None)
            return measured(
                Utterance(
                    id=name,
                    audio_path=audio,
                    feature_path=features,
                    duration=0.0,
                    text=texts[name],
                    speaker=speaker,
                    split=split,
                )
            )
    raise ValueError(f"cannot prepare AN4: there is no sound and no feature file of {file_id} in {source}")
