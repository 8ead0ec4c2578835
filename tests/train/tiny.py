"""A recipe that trains in a second: spoken digits from the package and a network of a few cells."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from sparrot.corpora.manifest import Utterance, write_manifest
from sparrot.corpora.packaged import packaged_recordings
from sparrot.train.config import Config
from sparrot.train.recipe import parse_config
from sparrot.train.run import train_run

WORDS = ("one", "two", "six")
DIGITS = {"one": "1", "two": "2", "six": "6"}
SPARSE = {"levels": {"large": {}, "small": {"lstm": 0.75, "fc": 0.5}}, "block": "4x1", "mask_every": 3}
# Enough to tell three digits apart: of 18, 4 are wrong at `large`, 8 at `small`.
LEARNS = {"sparsity": SPARSE, "encoder.cells": 32, "optimiser.learning_rate": 0.02, "training.epochs": 8}


def recordings(split: str, n_each: int) -> list[Utterance]:
    """The first `n_each` recordings of every word and speaker."""
    spoken = [r for r in packaged_recordings(split) if r.text in WORDS]
    found: dict[tuple[str, str | None], list[Utterance]] = {}
    for recording in spoken:
        found.setdefault((recording.text, recording.speaker), []).append(recording)
    return [recording for group in found.values() for recording in group[:n_each]]


def write_corpus(folder: Path) -> Path:
    """Writes train.jsonl (36 recordings) and dev.jsonl (18) into a folder; returns it."""
    write_manifest(folder / "train.jsonl", recordings("train", 2))
    write_manifest(folder / "dev.jsonl", recordings("dev", 1))
    return folder


def write_digits(folder: Path) -> Path:
    """Writes train.jsonl (108 recordings) and dev.jsonl (18) with a digit for a text; returns the folder."""
    for split, n_each in (("train", 6), ("dev", 1)):
        spoken = recordings(split, n_each)
        write_manifest(folder / f"{split}.jsonl", [replace(r, text=DIGITS[r.text]) for r in spoken])
    return folder


def recipe(corpus: Path, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The recipe as YAML gives it, with `section.key` → value changed; a dotless key is a section."""
    described: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "train": [str(corpus / "train.jsonl")],
            "dev": [str(corpus / "dev.jsonl")],
            "batch_seconds": 4.0,
        },
        "features": {"kind": "log_mel", "sample_rate_hz": 8000, "n_mels": 12},
        "front": {"kind": "stack", "frames": 3, "stride": 3},
        "encoder": {"layers": 1, "cells": 16, "fc": [8]},
        "optimiser": {"learning_rate": 0.01},
        "training": {"epochs": 2, "threads": 1},
    }
    for key, value in (changes or {}).items():
        *sections, last = key.split(".")
        place = described
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return described


def config(corpus: Path, changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration of `recipe`."""
    return parse_config(recipe(corpus, changes), "of the test")


def write_recipe(path: Path, corpus: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Writes `recipe` to a YAML file."""
    path.write_text(yaml.safe_dump(recipe(corpus, changes), sort_keys=False))
    return path


def trained_run(base: Path) -> Path:
    """The folder of a short run with two levels below `base`, trained once a session; not to be changed."""
    folder = base / "tiny-run"
    if not folder.exists():
        corpus = base / "tiny-corpus"
        corpus.mkdir()
        train_run(config(write_digits(corpus), LEARNS), folder, resume=False)
    return folder
