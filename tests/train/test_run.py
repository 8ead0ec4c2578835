"""Runs that are stopped, by force or by Ctrl-C, and go on: they end as if nothing had happened."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from sparrot.model_file import ModelFile
from sparrot.train.checkpoint import load_checkpoint
from sparrot.train.loop import Trainer
from sparrot.train.recipe import parse_config
from sparrot.train.run import train_run
from train import tiny

# Dropout, masks, strings and augmentation all draw numbers at random; all of them must come back.
CHANGES = {
    "sparsity": tiny.SPARSE,
    "dropout": 0.2,
    "augment": {"speed": [0.9, 1.0], "gain_db": [-6, 6], "spec": {"time_width": 4}},
    "data.strings": 20,
    "data.batch_seconds": 8.0,
    "training": {"epochs": 3, "checkpoint_minutes": 1e-9, "threads": 1},
}

# The command line, telling the losses of every finished update; the `count`-th call of a function kills it.
PROGRAM = """
import os, signal, sys
losses, where, count, *arguments = sys.argv[1:]
import sparrot.atomic, torch
from sparrot.cli.main import run
from sparrot.train.loop import Trainer
n_left = int(count)

def deadly(function):
    def called(*given):
        global n_left
        n_left -= 1
        if n_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given)
    return called

if where == "update":
    torch.nn.utils.clip_grad_norm_ = deadly(torch.nn.utils.clip_grad_norm_)
if where == "save":
    os.fsync = deadly(os.fsync)

def told(self, batch, update=Trainer.update):
    made = update(self, batch)
    with open(losses, "a") as file:
        print(self.position.step, *made.losses.values(), file=file)
    return made

Trainer.update = told
sys.exit(run(["train", *arguments]))
"""


def row(step: int, losses: dict[str, float]) -> str:
    return " ".join(map(str, [step, *losses.values()]))


def log(folder: Path) -> list[dict]:
    """The rows of a log without the time they took."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "minutes"} for row in rows]


def require_same(a: Path, b: Path) -> None:
    """Asserts that two runs ended alike, to the last bit."""
    one, other = load_checkpoint(a / "last.pt"), load_checkpoint(b / "last.pt")
    assert one.position == other.position
    assert one.sparsity.pop("described") == other.sparsity.pop("described")
    for name in ("network", "optimiser", "sparsity", "random"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)
    assert (a / "model.sparrot").read_bytes() == (b / "model.sparrot").read_bytes()
    assert log(a) == log(b)


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """The folder of a run that nothing stopped, and a row for the losses of each update."""
    folder, rows = tmp_path_factory.mktemp("whole") / "run", []
    update = Trainer.update

    def told(self, batch):
        made = update(self, batch)
        rows.append(row(self.position.step, made.losses))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", told)
        train_run(tiny.config(corpus, CHANGES), folder, resume=False)
    return folder, rows


def test_a_run_killed_in_an_update_and_in_a_save_ends_as_if_it_had_not_been(corpus, tmp_path, whole):
    folder, rows = whole
    recipe = tiny.write_recipe(tmp_path / "recipe.yaml", corpus, CHANGES)
    losses = tmp_path / "losses"

    def train(where: str, count: int, *options: str) -> int:
        arguments = [str(losses), where, str(count), str(recipe), "--out", str(tmp_path / "run"), *options]
        return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=False).returncode

    assert train("update", 5) == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "run" / "last.pt").position.step == 4
    # A save syncs its file, then its folder. So do the configuration and the log before: 4 calls and a save.
    assert train("save", 7, "--resume") == -signal.SIGKILL  # after new masks at step 6 have been logged
    assert load_checkpoint(tmp_path / "run" / "last.pt").position.step == 5
    assert log(tmp_path / "run")[-1]["step"] == 6
    assert train("never", 0, "--resume") == 0

    told = losses.read_text().splitlines()
    assert [int(line.split()[0]) for line in told] == [1, 2, 3, 4, 5, 6, *range(6, len(rows) + 1)]
    assert set(told) == set(rows)
    require_same(tmp_path / "run", folder)


def test_a_run_stopped_by_ctrl_c_goes_on_as_if_it_had_not_been(corpus, tmp_path, whole, monkeypatch):
    config, update = tiny.config(corpus, CHANGES), Trainer.update

    def interrupted(self, batch):
        if self.position.step == 10:
            signal.raise_signal(signal.SIGINT)
        return update(self, batch)

    monkeypatch.setattr(Trainer, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_run(config, tmp_path / "run", resume=False)
    assert load_checkpoint(tmp_path / "run" / "last.pt").position.step == 11
    assert not (tmp_path / "run" / "model.sparrot").exists()
    monkeypatch.undo()
    train_run(config, tmp_path / "run", resume=True)
    require_same(tmp_path / "run", whole[0])


def test_a_finished_run_goes_on_to_nothing_and_is_exported_again(corpus, tmp_path):
    config = tiny.config(corpus, {"training.epochs": 1})
    model = train_run(config, tmp_path / "run", resume=False)
    first = model.read_bytes()
    model.unlink()
    assert train_run(config, tmp_path / "run", resume=True) == model
    assert model.read_bytes() == first


def test_the_folder_gets_the_resolved_configuration_and_the_best_model(corpus, tmp_path):
    config = tiny.config(corpus, {"sparsity": tiny.SPARSE})
    model = train_run(config, tmp_path / "run", resume=False)
    assert model == tmp_path / "run" / "model.sparrot"
    assert parse_config(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()), "") == config
    best = load_checkpoint(tmp_path / "run" / "best.pt").position
    assert ModelFile.open(model).description.provenance["updates"] == best.step


def test_independent_masks_end_with_a_checkpoint(corpus, tmp_path):
    config = tiny.config(corpus, {"sparsity": tiny.SPARSE | {"nested": False}, "training.epochs": 1})
    assert train_run(config, tmp_path / "run", resume=False) == tmp_path / "run" / "best.pt"
    assert not (tmp_path / "run" / "model.sparrot").exists()
