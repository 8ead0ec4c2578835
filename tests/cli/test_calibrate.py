import errno
import json
import shutil
import warnings

import pytest

from sparrot.cli.main import run
from sparrot.model_file import ModelFile, with_measured
from train import tiny


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return tiny.trained_run(tmp_path_factory.getbasetemp())


@pytest.fixture
def model(run_folder, tmp_path):
    """A copy of the model, to be written into."""
    return shutil.copy(run_folder / "model.sparrot", tmp_path / "model.sparrot")


def printed(capsys, *arguments) -> dict:
    capsys.readouterr()
    assert run([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def told(capsys) -> str:
    """What was printed on stderr, a single line."""
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    return printed


def test_what_is_found_is_in_the_file_and_is_what_eval_finds(model, capsys):
    plain = {row["level"]: row for row in printed(capsys, "eval", model)["levels"]}
    with_measured(model, {"large": {"older": {"wer": 0.5, "cer": 0.5, "words": 2}}})
    before = ModelFile.open(model)
    found = printed(capsys, "calibrate", model)
    assert (found["model"], found["set"]) == ("tiny", "dev")
    file = ModelFile.open(model)
    assert file.description == before.description
    evaluated = {row["level"]: row for row in printed(capsys, "eval", model)["levels"]}
    for row in found["levels"]:
        name, old, new = row["level"], row["before"], row["after"]
        level = file.level(name)
        assert (level.blank_penalty, level.confidence_temperature) == (
            new["blank_penalty"],
            new["confidence_temperature"],
        )
        assert level.measured == {"dev": {key: new[key] for key in ("wer", "cer", "words")}}
        assert new["wer"] == evaluated[name]["wer"] <= old["wer"] == plain[name]["wer"]
        assert (file.parameters(name)["output.weight"] == before.parameters(name)["output.weight"]).all()
    assert [row["level"] for row in found["levels"]] == ["large", "small"]


def test_calibrating_again_changes_nothing(model):
    assert run(["calibrate", str(model)]) == 0
    once = model.read_bytes()
    assert run(["calibrate", str(model)]) == 0
    assert model.read_bytes() == once


def test_only_the_levels_that_are_named_change(model):
    before = ModelFile.open(model)
    assert run(["calibrate", str(model), "--levels", "small"]) == 0
    after = ModelFile.open(model)
    assert after.level("large") == before.level("large")
    assert after.level("small") != before.level("small")


def test_a_table_for_readers(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["calibrate", str(model)]) == 0
    table = capsys.readouterr().out
    assert "tiny on dev, before → after" in table
    for heading in ("level", "blank penalty", "WER", "CER", "temperature", "NCE of confidences"):
        assert heading in table


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--levels", "medium"], "no level `medium`"),
        (["--on", "nowhere"], "there is no set `nowhere`"),
        (["--max-symbols", "2", "--decoder", "beam"], "the beam search emits at most one token a frame"),
    ],
)
def test_what_is_refused_leaves_the_file(model, capsys, options, sentence):
    before = model.read_bytes()
    assert run(["calibrate", str(model), *options]) == 2
    assert sentence in told(capsys)
    assert model.read_bytes() == before


def test_a_cut_model_is_refused(model, tmp_path, capsys):
    cut = tmp_path / "cut.sparrot"
    cut.write_bytes(model.read_bytes()[:-64])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run(["calibrate", str(cut)]) == 2
    assert f"{cut} is cut; take the whole file" in told(capsys)


def test_a_full_disk_leaves_the_file_and_shows_what_was_found(model, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sparrot.model_file.reader.write_prefix", full)
    before = model.read_bytes()
    assert run(["calibrate", str(model), "--levels", "small"]) == 2
    shown = capsys.readouterr()
    assert shown.err.strip() == "sparrot: no space left on device"
    assert "small" in shown.out
    assert model.read_bytes() == before
