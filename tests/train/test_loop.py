import dataclasses
import io
import itertools
import json
import math
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn.functional import ctc_loss, kl_div, log_softmax

from sparrot.corpora.loading import load_features
from sparrot.corpora.manifest import read_manifest, write_manifest
from sparrot.metrics import ErrorCounts
from sparrot.nn import CtcNetwork
from sparrot.sparsity import BlockMask
from sparrot.train import data as data_module
from sparrot.train import loop as loop_module
from sparrot.train.checkpoint import Position, load_checkpoint
from sparrot.train.evaluation import Evaluation, LevelEvaluation
from sparrot.train.loop import Trainer
from sparrot.train.optimisation import rate_factor
from sparrot.train.record import Record
from train import tiny

# Losses of `large` and `small` before some updates of `tiny.LEARNS`; seed 1, torch 2.13 on x86-64.
KNOWN = {
    10: (34.292, 18.552),
    20: (6.6702, 5.1195),
    30: (6.5530, 2.5308),
    40: (3.8535, 3.2318),
    50: (2.5344, 1.9255),
}


def quiet(folder) -> Record:
    return Record(folder, Position(), console=Console(file=io.StringIO()))


def first_updates(trainer: Trainer):
    """Updates without end, epoch after epoch, without evaluation."""
    for epoch in itertools.count():
        for batch in trainer.data.batches(epoch):
            yield trainer.update(batch)


# what an update computes


def test_fifty_steps_of_a_tiny_recipe_have_known_losses(tmp_path):
    trainer = Trainer.new(tiny.config(tiny.write_digits(tmp_path), tiny.LEARNS), tmp_path / "run")
    losses = [update.losses for update in itertools.islice(first_updates(trainer), 51)]
    assert [list(losses[step]) for step in range(4)] == 3 * [["large"]] + [["large", "small"]]
    assert losses[0]["large"] == pytest.approx(23.777, rel=1e-3)
    found = [tuple(losses[step].values()) for step in KNOWN]
    np.testing.assert_allclose(found, list(KNOWN.values()), rtol=0.02)  # rounding grows over 50 updates
    assert losses[50]["large"] < 0.11 * losses[0]["large"]


def masked(network: CtcNetwork, masks: dict[str, BlockMask]) -> CtcNetwork:
    """A copy of a network with weights dropped."""
    copy = CtcNetwork(network.architecture)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for name, mask in masks.items():
        state[name][mask.dropped_weights()] = 0.0
    copy.load_state_dict(state)
    return copy


def loss_of(logits, lengths, batch, teacher, share):
    """The loss of a level by torch's own functions, utterance by utterance."""
    total = torch.zeros(())
    for i, n in enumerate(lengths.tolist()):
        n_tokens = batch.target_lengths[i : i + 1]
        log_probs = log_softmax(logits[i, :n], 1)
        task = ctc_loss(
            log_probs[:, None],
            batch.targets[i : i + 1, : n_tokens.item()],
            lengths[i : i + 1],
            n_tokens,
            reduction="sum",
        )
        if teacher is None:
            total = total + task
        else:
            apart = kl_div(log_probs, log_softmax(teacher[i, :n], 1), reduction="sum", log_target=True)
            total = total + (1 - share) * task + share * apart
    return total / batch.target_lengths.sum()


@pytest.mark.parametrize("clip_norm", [None, 0.01])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("block", ["4x1", "16x1"])
def test_an_update_sums_the_gradients_of_all_levels(corpus, tmp_path, block, share, clip_norm):
    changes = {
        "sparsity": tiny.SPARSE | {"block": block, "distillation": share},
        "optimiser": {"kind": "sgd", "learning_rate": 0.5, "clip_norm": clip_norm},
        "schedule": {"kind": "constant", "warmup": 0.5},
    }
    trainer = Trainer.new(tiny.config(corpus, changes), tmp_path)
    state = trainer.sparsity.state_dict()
    masks = {
        name: BlockMask(torch.arange(grid.n_blocks).reshape(grid.shape) % 3 != 0, grid)
        for name, grid in trainer.sparsity.grids.items()
    }
    trainer.sparsity.load_state_dict(state | {"keep": {"small": {n: m.keep for n, m in masks.items()}}})
    trainer.position.step = 4
    batch = next(trainer.data.batches(0))
    full, small = masked(trainer.network, {}), masked(trainer.network, masks)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}

    update = trainer.update(batch)

    teacher, lengths = full(batch.frames, batch.lengths)
    losses = {"large": loss_of(teacher, lengths, batch, None, share)}
    logits, lengths = small(batch.frames, batch.lengths)
    losses["small"] = loss_of(logits, lengths, batch, None if share == 0 else teacher.detach(), share)
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in full.named_parameters()}
    for name, parameter in small.named_parameters():
        dropped = (
            masks[name].dropped_weights() if name in masks else torch.zeros_like(parameter, dtype=torch.bool)
        )
        gradients[name] = gradients[name] + parameter.grad.masked_fill(dropped, 0.0)
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients.values()))
    scale = 1.0 if clip_norm is None else min(1.0, clip_norm / (norm + 1e-6))
    rate = 0.5 * rate_factor(4 / trainer.n_steps, trainer.config.schedule)
    assert update.losses == pytest.approx({k: v.item() for k, v in losses.items()}, rel=1e-5)
    assert update.rate == rate
    for name, value in trainer.network.state_dict().items():
        expected = before[name] - rate * scale * gradients[name]
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6 * rate)
    assert (trainer.position.step, trainer.position.batch) == (5, 1)


def test_masks_change_when_they_are_due_and_reach_their_target(corpus, tmp_path):
    config = tiny.config(corpus, {"sparsity": tiny.SPARSE, "training.epochs": 4})
    trainer = Trainer.new(config, tmp_path)
    assert (trainer.n_steps, trainer.sparsity.schedule.end, trainer.sparsity.options.freeze_at) == (20, 8, 14)
    updates = [update.masks for update in itertools.islice(first_updates(trainer), 20)]
    assert [step for step, masks in enumerate(updates, 1) if masks] == [3, 6, 8, 9, 12, 14]
    assert trainer.sparsity.sparsity("small") == pytest.approx({"lstm": 0.75, "fc": 0.5}, abs=0.02)


@pytest.mark.parametrize("nested", [True, False])
def test_until_sparsity_begins_the_full_model_is_trained_alone(corpus, tmp_path, nested):
    sparse = tiny.SPARSE | {"begin": 0.4, "end": 0.7, "mask_every": 2, "nested": nested}
    trainer = Trainer.new(tiny.config(corpus, {"sparsity": sparse}), tmp_path)
    assert (trainer.n_steps, trainer.sparsity.schedule.begin) == (10, 4)
    levels = [tuple(update.losses) for update in itertools.islice(first_updates(trainer), 10)]
    both = ("large", "small")  # independent masks are scored by their own passes
    assert levels == [("large",) if nested else both] * 6 + [both] * 4  # the first masks come at step 6
    assert trainer.sparsity.sparsity("small") == pytest.approx({"lstm": 0.75, "fc": 0.5}, abs=0.02)


def test_every_update_is_made_in_training_mode(corpus, tmp_path, monkeypatch):
    trainer = Trainer.new(tiny.config(corpus), tmp_path)
    trainer.network.eval()
    modes, update = [], trainer.update

    def watched(batch):
        modes.append(trainer.network.training)
        return update(batch)

    monkeypatch.setattr(trainer, "update", watched)
    trainer.run(quiet(tmp_path))
    assert modes == [True] * 10


# what stops it


def poisoned(monkeypatch, name: str) -> None:
    """Lets the features of one utterance have a NaN in the middle."""

    def load(utterance, config):
        frames = load_features(utterance, config).copy()
        if utterance.id == name and config.mean is not None:
            frames[len(frames) // 2, 3] = math.nan
        return frames

    monkeypatch.setattr(data_module, "load_features", load)


def test_a_loss_that_is_nan_names_its_utterance_and_moves_no_weight(corpus, tmp_path, monkeypatch):
    poisoned(monkeypatch, "1_jackson_10")
    trainer = Trainer.new(tiny.config(corpus, {"sparsity": tiny.SPARSE}), tmp_path)
    with pytest.raises(
        ValueError, match=r"^the loss of level large is nan at step \d+ for the utterance `1_jackson_10`;"
    ) as caught:
        trainer.run(quiet(tmp_path))
    assert f"at step {trainer.position.step} " in str(caught.value)
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values())


def test_losses_that_are_infinite_name_one_utterance_and_count_the_others(corpus, tmp_path):
    trainer = Trainer.new(tiny.config(corpus), tmp_path)
    batch = next(iter(trainer.data.batches(0)))
    impossible = dataclasses.replace(
        batch, targets=batch.targets[:, :1].repeat(1, 99), target_lengths=torch.full_like(batch.lengths, 99)
    )
    n = len(batch.utterances)
    with pytest.raises(
        ValueError,
        match=rf"is inf at step 0 for the utterance `{batch.utterances[0].id}` and {n - 1} more of {n};",
    ):
        trainer.update(impossible)


def test_a_gradient_that_overflows_names_its_batch_and_moves_no_weight(corpus, tmp_path):
    trainer = Trainer.new(tiny.config(corpus), tmp_path)
    trainer.network.layers["output"].linear.bias.register_hook(lambda gradient: gradient * math.inf)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"^the norm of the gradient is (inf|nan) at step 0, in the batch of \d_"
    ):
        trainer.run(quiet(tmp_path))
    torch.testing.assert_close(dict(trainer.network.state_dict()), before, rtol=0, atol=0)


def test_an_epoch_whose_evaluation_was_killed_is_only_evaluated_again(corpus, tmp_path, monkeypatch):
    config = tiny.config(corpus, {"training.epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Trainer.new(config, tmp_path).run(quiet(tmp_path))
    resumed = Trainer.resumed(config, tmp_path)
    assert (resumed.position.epoch, resumed.position.batch, resumed.position.step) == (0, 5, 5)
    monkeypatch.setattr(resumed, "update", lambda batch: pytest.fail("an update was made again"))
    resumed.run(Record(tmp_path, resumed.position, console=Console(file=io.StringIO())))
    assert [row["epoch"] for row in told(tmp_path)] == [1]
    assert load_checkpoint(tmp_path / "best.pt").position.epoch == 1


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    corpus = tiny.write_corpus(tmp_path)
    config = tiny.config(corpus)
    trainer = Trainer.new(config, tmp_path / "run")
    trainer.save(tmp_path / "run" / "last.pt")
    Trainer.resumed(config, tmp_path / "run")
    first, *others = read_manifest(corpus / "train.jsonl")
    for changed in ([replace(first, text="two" if first.text == "one" else "one"), *others], others):
        write_manifest(corpus / "train.jsonl", changed)
        with pytest.raises(
            ValueError, match=r"cannot resume .*run: the utterances of .*train.jsonl are not those"
        ):
            Trainer.resumed(config, tmp_path / "run")


def test_a_dev_set_without_a_word_is_refused(tmp_path):
    corpus = tiny.write_corpus(tmp_path)
    write_manifest(corpus / "dev.jsonl", [replace(u, text="") for u in read_manifest(corpus / "dev.jsonl")])
    with pytest.raises(ValueError, match=r"dev.jsonl \(data.dev\) have no word to get wrong"):
        Trainer.new(tiny.config(corpus), tmp_path / "run")


@pytest.mark.parametrize("start", ["new", "resumed"])
def test_what_a_killed_save_has_left_is_removed(corpus, tmp_path, start):
    config = tiny.config(corpus)
    if start == "resumed":
        Trainer.new(config, tmp_path).save(tmp_path / "last.pt")
    (tmp_path / ".last.pt.0123456789abcdef.tmp").write_bytes(b"half")
    getattr(Trainer, start)(config, tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_pass_tells_the_parts_of_its_loss_and_its_own_gradient(corpus, tmp_path):
    sparse = tiny.SPARSE | {"distillation": 0.25, "mask_every": 1}
    trainer = Trainer.new(tiny.config(corpus, {"sparsity": sparse, "optimiser.clip_norm": None}), tmp_path)
    batches = trainer.data.batches(0)
    trainer.update(next(batches))
    gradients = []
    backward = torch.Tensor.backward

    def alone(loss, *given):
        before = [
            p.grad.clone() if p.grad is not None else torch.zeros_like(p)
            for p in trainer.network.parameters()
        ]
        backward(loss, *given)
        after = [p.grad for p in trainer.network.parameters()]
        gradients.append(
            math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(after, before, strict=True)))
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", alone)
        passes = trainer.update(next(batches)).passes
    large, small = passes["large"], passes["small"]
    assert (large.loss, large.divergence) == (large.task, None)
    assert small.loss == pytest.approx(0.75 * small.task + 0.25 * small.divergence, rel=1e-6)
    assert [large.gradient_norm, small.gradient_norm] == pytest.approx(gradients, rel=1e-4)


def test_ctrl_c_in_an_evaluation_finishes_and_keeps_it(corpus, tmp_path, monkeypatch):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)
        return Evaluation({"dense": LevelEvaluation(errors(1), 1.0)})

    monkeypatch.setattr(loop_module, "evaluate", interrupted)
    trainer = Trainer.new(tiny.config(corpus, {"training.epochs": 1}), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(quiet(tmp_path))
    assert load_checkpoint(tmp_path / "last.pt").position.epoch == 1
    assert load_checkpoint(tmp_path / "best.pt").position.epoch == 1


def test_ctrl_c_finishes_the_update_and_keeps_it(corpus, tmp_path, monkeypatch):
    trainer = Trainer.new(tiny.config(corpus), tmp_path)
    update = trainer.update

    def interrupted(batch):
        if trainer.position.step == 6:
            signal.raise_signal(signal.SIGINT)
        return update(batch)

    monkeypatch.setattr(trainer, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(quiet(tmp_path))
    kept = load_checkpoint(tmp_path / "last.pt")
    assert (kept.position.step, kept.position.epoch, kept.position.batch) == (7, 1, 2)
    torch.testing.assert_close(kept.network, dict(trainer.network.state_dict()), rtol=0, atol=0)


# checkpoints and evaluation


def checkpoints(trainer: Trainer, monkeypatch) -> list[tuple[str, Position]]:
    """What will be saved, and when."""
    saved, save = [], trainer.save

    def spy(path):
        save(path)
        saved.append((path.name, load_checkpoint(path).position))

    monkeypatch.setattr(trainer, "save", spy)
    return saved


@pytest.mark.parametrize(("minutes", "steps"), [(1e-9, [1, 2, 3, 4, 5, 5, 5, 5]), (60.0, [5, 5, 5])])
def test_checkpoints_come_in_time_and_after_every_epoch(corpus, tmp_path, monkeypatch, minutes, steps):
    changes = {"training": {"epochs": 1, "checkpoint_minutes": minutes}}
    trainer = Trainer.new(tiny.config(corpus, changes), tmp_path)
    saved = checkpoints(trainer, monkeypatch)
    trainer.run(quiet(tmp_path))
    assert [position.step for _, position in saved] == steps
    assert [name for name, _ in saved[-3:]] == ["last.pt", "best.pt", "last.pt"]
    assert (saved[-3][1].epoch, saved[-3][1].batch) == (0, 5)
    assert (saved[-1][1].epoch, saved[-1][1].batch) == (1, 0)


def test_the_time_to_the_next_checkpoint_starts_at_the_last_one(corpus, tmp_path, monkeypatch):
    changes = {"training": {"epochs": 2, "checkpoint_minutes": 2.0, "eval_every": 2}}
    clock = [0.0]
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    trainer = Trainer.new(tiny.config(corpus, changes), tmp_path)
    saved, update = checkpoints(trainer, monkeypatch), trainer.update

    def in_a_minute(batch):
        clock[0] += 60.0
        return update(batch)

    monkeypatch.setattr(trainer, "update", in_a_minute)
    trainer.run(quiet(tmp_path))
    last = [position.step for name, position in saved if name == "last.pt"]
    assert last == [2, 4, 5, 7, 9, 10, 10]  # around the evaluation at the end too
    assert load_checkpoint(tmp_path / "last.pt").position.minutes == 10.0


def errors(n: int) -> list[ErrorCounts]:
    """Of 100 utterances of a word, the first `n` wrong."""
    return [ErrorCounts(1, int(i < n), 0, 0, 1, 0) for i in range(100)]


def scripted(monkeypatch, *levels: tuple[int, int]) -> None:
    """Lets the evaluations find these word errors, of 100, at large and small."""
    results = iter(levels)

    def evaluate(network, sparsity, data, tokens, ctc_share):
        large, small = next(results)
        return Evaluation(
            {"large": LevelEvaluation(errors(large), 1.0), "small": LevelEvaluation(errors(small), 1.0)}
        )

    monkeypatch.setattr(loop_module, "evaluate", evaluate)


def told(folder) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["event"] == "dev"]


def test_the_best_checkpoint_has_the_lowest_error_once_sparsity_is_reached(corpus, tmp_path, monkeypatch):
    scripted(monkeypatch, (1, 1), (30, 30), (20, 30), (20, 30), (10, 35), (30, 20))
    sparse = tiny.SPARSE | {"end": 0.3, "freeze": 0.5}  # of 30 steps, 5 an epoch: reached at step 9
    trainer = Trainer.new(tiny.config(corpus, {"sparsity": sparse, "training.epochs": 6}), tmp_path)
    saved = checkpoints(trainer, monkeypatch)
    trainer.run(quiet(tmp_path))
    best = [(p.epoch, p.best) for name, p in saved if name == "best.pt"]
    assert best == [(2, 0.6), (3, 0.5), (5, pytest.approx(0.45))]
    assert [row["best"] for row in told(tmp_path)] == [False, True, True, False, True, False]
    assert load_checkpoint(tmp_path / "best.pt").position.step == 25
    assert load_checkpoint(tmp_path / "last.pt").position.best == pytest.approx(0.45)


def test_sparsity_is_reached_at_the_end_of_its_schedule_however_seldom_masks_change(corpus, tmp_path):
    sparse = tiny.SPARSE | {"mask_every": 100, "end": 0.8, "freeze": 1.0}
    trainer = Trainer.new(tiny.config(corpus, {"sparsity": sparse, "training.epochs": 1}), tmp_path)
    assert trainer.sparsity.schedule.end == 4
    trainer.run(quiet(tmp_path))
    assert trainer.sparsity.sparsity("small") == pytest.approx({"lstm": 0.75, "fc": 0.5}, abs=0.02)
    assert (tmp_path / "best.pt").exists()


def test_the_error_of_every_level_is_logged_with_a_warning(corpus, tmp_path, monkeypatch):
    scripted(monkeypatch, (5, 9), (30, 12))
    console = Console(file=io.StringIO(), width=400)
    config = tiny.config(corpus, {"sparsity": tiny.SPARSE, "training": {"epochs": 4, "eval_every": 2}})
    Trainer.new(config, tmp_path).run(Record(tmp_path, Position(), console=console))
    rows = told(tmp_path)
    assert [(row["epoch"], row["step"]) for row in rows] == [(2, 10), (4, 20)]
    assert [{k: v["wer"] for k, v in row["levels"].items()} for row in rows] == [
        {"large": 0.05, "small": 0.09},
        {"large": 0.3, "small": 0.12},
    ]
    shown = console.file.getvalue()
    assert (
        shown.count("warning: level large has a higher error (30.00% WER) than the sparser small (12.00%)")
        == 1
    )
    assert shown.count("warning") == 1


def test_the_last_epoch_is_evaluated_whatever_the_interval(corpus, tmp_path, monkeypatch):
    scripted(monkeypatch, (5, 9), (7, 6))
    config = tiny.config(corpus, {"sparsity": tiny.SPARSE, "training": {"epochs": 3, "eval_every": 2}})
    Trainer.new(config, tmp_path).run(quiet(tmp_path))
    assert [row["epoch"] for row in told(tmp_path)] == [2, 3]


# folders


def test_a_folder_that_holds_a_run_is_not_trained_into(corpus, tmp_path):
    config = tiny.config(corpus)
    Trainer.new(config, tmp_path).save(tmp_path / "last.pt")
    with pytest.raises(
        ValueError, match=r"already holds a run: go on with --resume, or choose another folder"
    ):
        Trainer.new(config, tmp_path)


def test_a_run_goes_on_with_its_own_configuration_only(corpus, tmp_path):
    config = tiny.config(corpus)
    Trainer.new(config, tmp_path).save(tmp_path / "last.pt")
    assert Trainer.resumed(tiny.config(corpus), tmp_path).position == Position()
    other = tiny.config(corpus, {"training.epochs": 3, "encoder.cells": 32, "training.threads": 2})
    told = (
        r"cannot resume .*: its configuration differs from the one given in encoder.cells, training.epochs;"
    )
    with pytest.raises(ValueError, match=told):
        Trainer.resumed(other, tmp_path)


def test_a_run_goes_on_with_the_threads_of_another_machine(corpus, tmp_path):
    Trainer.new(tiny.config(corpus), tmp_path).save(tmp_path / "last.pt")
    before = torch.get_num_threads()
    try:
        moved = tiny.config(corpus, {"training.threads": 2, "training.checkpoint_minutes": 1.0})
        Trainer.resumed(moved, tmp_path).save(tmp_path / "last.pt")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert load_checkpoint(tmp_path / "last.pt").setup.config.training.threads == 2


def test_threads_are_those_of_the_recipe(corpus, tmp_path):
    before = torch.get_num_threads()
    try:
        Trainer.new(tiny.config(corpus, {"training.threads": 2}), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
