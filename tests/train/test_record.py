import io
import json
import math
import re

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from sparrot.metrics import ErrorCounts
from sparrot.sparsity import MaskUpdate
from sparrot.train.checkpoint import Position
from sparrot.train.evaluation import Evaluation, LevelEvaluation
from sparrot.train.record import Record
from sparrot.train.update import Pass, Update

RIGHT, WRONG = ErrorCounts(1, 0, 0, 0, 2, 0), ErrorCounts(1, 1, 0, 0, 2, 1)
HALF_RIGHT = ErrorCounts(1, 1, 0, 0, 2, 0)
DEV = Evaluation(
    {
        "large": LevelEvaluation(10 * [WRONG] + 10 * [HALF_RIGHT] + 80 * [RIGHT], loss=0.5),
        "small": LevelEvaluation(10 * [WRONG] + 90 * [RIGHT], loss=math.nan),
    }
)


def update(step: int, loss: float = 1.5) -> Update:
    passes = {"large": Pass(loss, loss, None, 4.5), "small": Pass(2.5, 3.0, 2.0, 5.5)}
    return Update(passes, [MaskUpdate(step, "small", 4, 3, 0.25, {"a": 0.5, "b": 0.0})], rate=0.125)


def told(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_mask_updates_and_evaluations_are_rows(tmp_path, console):
    record = Record(tmp_path, Position(), console=console)
    with record.running(n_steps=10, step=0):
        record.update(Position(step=3, minutes=1.25), update(3))
        position = Position(1, 0, 4, minutes=1.504, losses={"large": (6.0, 4), "small": (3.0, 1)})
        record.evaluation(position, DEV, is_best=True)
    masks, dev = told(tmp_path)
    assert (masks.pop("minutes"), dev.pop("minutes")) == (1.25, 1.5)
    assert masks == {
        "event": "masks",
        "step": 3,
        "level": "small",
        "dropped": 4,
        "returned": 3,
        "sparsity": 0.25,
        "matrices": {"a": 0.5, "b": 0.0},
    }
    levels = {
        "large": {"wer": 0.2, "cer": 0.05, "words": 100, "loss": 0.5, "training_loss": 1.5},
        "small": {"wer": 0.1, "cer": 0.05, "words": 100, "loss": None, "training_loss": 3.0},
    }
    assert dev == {"event": "dev", "step": 4, "epoch": 1, "levels": levels, "best": True}


def test_the_error_of_every_level_is_shown_and_a_warning(tmp_path, console):
    Record(tmp_path, Position(), console=console).evaluation(Position(epoch=3), DEV, is_best=True)
    shown = console.file.getvalue()
    assert "epoch 3: large 20.00% WER, 5.00% CER · small 10.00% WER, 5.00% CER (best)\n" in shown
    assert "warning: level large has a higher error (20.00% WER) than the sparser small (10.00%)" in shown
    ordered = Evaluation(dict(zip(("large", "small"), reversed(DEV.levels.values()), strict=True)))
    console.file.truncate(0)
    Record(tmp_path, Position(), console=console).evaluation(Position(epoch=3), ordered, is_best=False)
    assert "warning" not in console.file.getvalue()
    assert "(best)" not in console.file.getvalue()


def test_a_level_that_starves_is_told_of(tmp_path, console):
    record = Record(tmp_path, Position(), console=console)
    starving = {"large": Pass(1.0, 1.0, None, 10.0), "small": Pass(1.0, 1.0, 0.1, 0.25)}
    with record.running(n_steps=300, step=0):
        for step in range(1, 301):
            record.update(Position(step=step), Update(starving, [], rate=0.1))
    assert told(tmp_path) == [
        {"event": "starving", "step": 200, "level": "small", "share": 0.025, "minutes": 0.0}
    ]
    assert "warning: level small starves: its gradient has had 2.5% of the full" in console.file.getvalue()


def test_progress_counts_updates_from_where_the_run_goes_on(tmp_path):
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    record = Record(tmp_path, Position(epoch=1, step=4), console=console)
    with record.running(n_steps=9, step=4):
        for step in (5, 6):
            record.update(Position(epoch=1, step=step), update(step, loss=0.75))
    shown = console.file.getvalue()
    assert "epoch 2 · loss large 0.750 small 2.500" in shown
    assert re.findall(r"(\d)/9", shown)[-1] == "6"


def test_tensorboard_gets_every_loss(tmp_path, console):
    record = Record(tmp_path, Position(), console=console)
    with record.running(n_steps=10, step=0):
        record.update(Position(step=3), update(3))
        record.evaluation(Position(step=4), DEV, is_best=True)
    (path,) = (tmp_path / "tensorboard").iterdir()
    found = {
        (value.tag, event.step): value.tensor.float_val[0]
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }
    assert found == pytest.approx(
        {
            ("loss/large", 3): 1.5,
            ("loss/small", 3): 2.5,
            ("task/large", 3): 1.5,
            ("task/small", 3): 3.0,
            ("divergence/small", 3): 2.0,
            ("gradient_norm/large", 3): 4.5,
            ("gradient_norm/small", 3): 5.5,
            ("learning_rate", 3): 0.125,
            ("sparsity/small", 3): 0.25,
            ("returned_blocks/small", 3): 3,
            ("dev_wer/large", 4): 0.2,
            ("dev_wer/small", 4): 0.1,
            ("dev_loss/large", 4): 0.5,
        }
    )


ROWS = [
    {"event": "masks", "step": 3, "minutes": 3.5},
    {"event": "dev", "step": 4, "epoch": 1, "minutes": 4.5},
    {"event": "masks", "step": 6, "minutes": 6.5},
    {"event": "dev", "step": 8, "epoch": 2, "minutes": 8.5},
    {"event": "masks", "step": 9, "minutes": 9.5},
]


@pytest.mark.parametrize(
    ("start", "n_kept"),
    [
        (Position(), 0),
        (Position(epoch=0, batch=4, step=4), 1),  # the last update of the epoch, before its evaluation
        (Position(epoch=1, batch=0, step=4), 2),
        (Position(epoch=1, batch=2, step=6), 3),
        (Position(epoch=2, batch=0, step=8), 4),
        (Position(epoch=2, batch=1, step=9), 5),
    ],
)
def test_going_on_forgets_what_came_after_the_checkpoint(tmp_path, console, start, n_kept):
    cut = '{"event": "dev", "step": 1, "levels": {"a": {}'  # a kill in the middle of a row
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS) + cut)
    Record(tmp_path, start, console=console)
    assert told(tmp_path) == ROWS[:n_kept]


def test_tensorboard_keeps_what_was_told_until_the_checkpoint(tmp_path, console):
    first = Record(tmp_path, Position(), console=console)
    with first.running(n_steps=10, step=0):
        for step in (3, 4, 5):
            first.update(Position(step=step), update(step))
    again = Record(tmp_path, Position(step=4), console=console)
    with again.running(n_steps=10, step=4):
        again.update(Position(step=5), update(5, loss=9.0))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/large")] == [(3, 1.5), (4, 1.5), (5, 9.0)]


def test_a_row_that_was_cut_at_a_brace_is_forgotten(tmp_path, console):
    (tmp_path / "log.jsonl").write_text('{"event": "dev", "step": 1, "levels": {"a": {}')
    Record(tmp_path, Position(step=5), console=console)
    assert told(tmp_path) == []
