"""`sparrot lm`, on public-domain text."""

import json
from pathlib import Path

import pytest
import yaml

from sparrot.cli.main import run

BOOK = Path(__file__).parents[1] / "texts" / "war-and-peace.txt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts, a recipe and its run."""
    folder = tmp_path_factory.mktemp("lm")
    lines = [line for line in BOOK.read_text().lower().splitlines() if line.split()]
    (folder / "train.txt").write_text("\n".join(lines[:300]))
    (folder / "valid.txt").write_text("\n".join(lines[300:360]))
    (folder / "test.txt").write_text("\n".join(lines[360:380]))
    data = {name: str(folder / f"{name}.txt") for name in ("train", "valid")}
    recipe = {
        "name": "tiny-lm",
        "data": {**data, "test": {"last": str(folder / "test.txt")}, "vocabulary": 200},
        "cells": 16,
        "batch": 10,
        "epochs": 2,
        "threads": 1,
        "sparsity": {"levels": {"large": {}, "small": {"lstm": 0.5}}, "block": "4x1", "mask_every": 2},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert run(["lm", "train", str(folder / "recipe.yaml"), "--out", str(folder / "run")]) == 0
    return folder


def test_every_level_is_measured(folder, capsys):
    for on, n_lines in (("valid", 60), ("last", 20), (str(folder / "test.txt"), 20)):
        assert run(["lm", "eval", str(folder / "run"), "--on", on, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["levels"]
        assert [row["level"] for row in rows] == ["large", "small"]
        words = sum(1 + len(line.split()) for line in (folder / "test.txt").read_text().splitlines())
        assert n_lines != 20 or {row["words"] for row in rows} == {words}
        assert all(1 < row["perplexity"] < 200 for row in rows)
    assert run(["lm", "eval", str(folder / "run"), "--levels", "0.4"]) == 0
    assert "small" in capsys.readouterr().out


def test_sentences_are_scored(folder, capsys, monkeypatch, tmp_path):
    (tmp_path / "a.txt").write_text("the prince\n\nthe the the\n")
    assert run(["lm", "score", str(folder / "run"), str(tmp_path / "a.txt"), "--level", "small"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [text for _, text in lines] == ["the prince", "the the the"]
    assert all(float(value) < 0 for value, _ in lines)


def test_a_run_resumes_and_is_not_overwritten(folder, capsys):
    recipe = str(folder / "recipe.yaml")
    assert run(["lm", "train", recipe, "--out", str(folder / "run")]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert run(["lm", "train", recipe, "--out", str(folder / "run"), "--resume"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eval", "RUN", "--on", "tset"], "there is no text `tset`: the model's recipe names valid, last"),
        (["eval", "RUN", "--levels", "smal"], "Did you mean `small`?"),
        (["score", "RUN", "EMPTY"], "there is no word in"),
        (["score", "RUN", "NOTHING"], "NOTHING"),
        (["train", "RECIPE", "--set", "cels=3"], "did you mean `cells`?"),
        (["train", "RECIPE", "--set", "data.train=EMPTY", "--out", "OUT"], "there is no word in"),
        (["eval", "DIGITS"], "is no language model of words: its tokens are sentencepiece"),
    ],
)
def test_bad_input_is_told_in_a_sentence(folder, tmp_path, capsys, arguments, sentence):
    from sparrot.engine.recognizer import packaged_model

    (tmp_path / "EMPTY").write_text("\n")
    paths = {
        "RUN": folder / "run",
        "RECIPE": folder / "recipe.yaml",
        "EMPTY": tmp_path / "EMPTY",
        "OUT": tmp_path / "OUT",
        "DIGITS": packaged_model(),
    }
    given = [str(paths.get(a, a)) for a in arguments]
    given = [a.replace("=EMPTY", f"={paths['EMPTY']}") for a in given]
    capsys.readouterr()
    assert run(["lm", *given]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "OUT").exists()
