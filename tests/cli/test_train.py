import dataclasses
import errno
import math
import signal
import subprocess
import sys

import pytest
import yaml

from sparrot.cli.main import run
from sparrot.corpora.loading import load_features
from sparrot.corpora.manifest import read_manifest
from sparrot.model_file import ModelFile
from sparrot.train import data as data_module
from sparrot.train.checkpoint import load_checkpoint
from sparrot.train.loop import Trainer
from train import tiny


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def recipe(corpus, tmp_path, monkeypatch):
    """A recipe of two epochs of 5 updates, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    tiny.write_recipe(tmp_path / "tiny.yaml", corpus)
    return "tiny.yaml"


def told(capsys) -> str:
    """The sentence on stderr, after what progress showed there."""
    return capsys.readouterr().err.splitlines()[-1]


def test_the_process_is_prepared_before_torch_is_imported():
    program = """
import sys
from sparrot.train import environment
environment.prepare_process = lambda: print("torch" in sys.modules)
from sparrot.cli.main import run
code = run(["train", "none.yaml"])
print("torch" in sys.modules, code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "2"]
    assert done.stderr == "sparrot: none.yaml: no such file or directory\n"


def test_a_recipe_becomes_a_run_folder(recipe, tmp_path, capsys):
    assert run(["train", recipe, "--set", "training.epochs=1", "--set", "name=first"]) == 0
    assert capsys.readouterr().out == "runs/first/model.sparrot\n"
    folder = tmp_path / "runs" / "first"
    names = {"config.yaml", "log.jsonl", "tensorboard", "last.pt", "best.pt", "model.sparrot"}
    assert {path.name for path in folder.iterdir()} == names
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"]["epochs"] == 1
    assert [level.name for level in ModelFile.open(folder / "model.sparrot").levels] == ["dense"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "optimizer.kind=sgd"], "`optimizer`: unknown key, did you mean `optimiser`?"),
        (["--set", "training.epochs=0"], "`training.epochs`: "),
        (["--set", "training.epochs"], "an override is written `section.key=value`"),
        (["--set", "data.train=[none.jsonl]"], "there is no manifest none.jsonl"),
        (["--set", "data.dev=[packaged:tset]"], "no packaged recordings of the split 'tset'"),
        (["--set", "training.init_from=elsewhere"], "there is no checkpoint elsewhere"),
        (["--set", "front.stride=40"], "34 training utterances have fewer output frames"),
        (["--resume"], "there is no checkpoint run/last.pt"),
        (["--resumee"], "`sparrot train` has no option `--resumee`. Did you mean `--resume`?"),
    ],
)
def test_bad_input_is_told_in_a_sentence_and_leaves_nothing(recipe, tmp_path, capsys, options, said):
    assert run(["train", recipe, "--out", "run", *options]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("sparrot: ")
    assert printed.count("\n") == 1
    assert said in printed
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_a_manifest_with_missing_files_is_refused(corpus, tmp_path, capsys):
    lost = dataclasses.replace(read_manifest(corpus / "train.jsonl")[0], audio_path=tmp_path / "lost.wav")
    line = f'{{"id": "a", "audio_path": "lost.wav", "duration": {lost.duration}, "text": "one"}}\n'
    (tmp_path / "train.jsonl").write_text(line)
    recipe = tiny.write_recipe(tmp_path / "r.yaml", corpus, {"data.train": [str(tmp_path / "train.jsonl")]})
    assert run(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2
    assert "needs 1 file(s) that cannot be found: " in told(capsys)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_trained_over(recipe, capsys):
    assert run(["train", recipe, "--out", "run", "--set", "training.epochs=1"]) == 0
    assert run(["train", recipe, "--out", "run", "--set", "training.epochs=1"]) == 2
    assert told(capsys).startswith("sparrot: run already holds a run: go on with --resume, or choose")
    assert run(["train", recipe, "--out", "run", "--resume"]) == 2
    assert told(capsys).startswith("sparrot: cannot resume run: its configuration differs from the one given")


def test_ctrl_c_saves_and_the_run_goes_on(recipe, tmp_path, capsys, monkeypatch):
    update = Trainer.update

    def interrupted(self, batch):
        if self.position.step == 6:
            signal.raise_signal(signal.SIGINT)
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        assert run(["train", recipe, "--out", "run"]) == 130
    assert told(capsys) == "sparrot: interrupted"
    assert load_checkpoint(tmp_path / "run" / "last.pt").position.step == 7
    assert not (tmp_path / "run" / "model.sparrot").exists()
    assert run(["train", recipe, "--out", "run", "--resume"]) == 0
    assert load_checkpoint(tmp_path / "run" / "last.pt").position.step == 10
    assert (tmp_path / "run" / "model.sparrot").exists()


def test_a_loss_that_is_nan_names_the_batch(recipe, tmp_path, capsys, monkeypatch):
    def poisoned(utterance, config):
        frames = load_features(utterance, config).copy()
        if utterance.id == "6_theo_10" and config.mean is not None:
            frames[5, 3] = math.nan
        return frames

    monkeypatch.setattr(data_module, "load_features", poisoned)
    assert run(["train", recipe, "--out", "run"]) == 2
    sentence = told(capsys)
    assert sentence.startswith("sparrot: the loss of level dense is nan at step ")
    assert "6_theo_10" in sentence
    assert not (tmp_path / "run" / "model.sparrot").exists()


def test_a_full_disk_ends_training_and_keeps_the_last_checkpoint(recipe, tmp_path, capsys, monkeypatch):
    save = Trainer.save

    def on_a_full_disk(self, path):
        if self.position.epoch == 2:
            monkeypatch.setattr("os.fsync", full)
        save(self, path)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Trainer, "save", on_a_full_disk)
    assert run(["train", recipe, "--out", "run"]) == 2
    assert told(capsys) == "sparrot: run/last.pt: no space left on device"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml",
        "log.jsonl",
        "tensorboard",
        "last.pt",
        "best.pt",
    }
    assert load_checkpoint(tmp_path / "run" / "last.pt").position.epoch == 1
