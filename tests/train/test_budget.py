"""How many epochs fit, with a clock that only updates move, and once with the real one."""

from types import SimpleNamespace

import pytest

from sparrot.train import budget
from sparrot.train.loop import Trainer
from train.tiny import SPARSE, config

ONE_BATCH, THREE_BATCHES = 1e4, 7.0  # data.batch_seconds


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def n_updates(monkeypatch) -> list[int]:
    """Counts updates. The first takes 90 s, a later one 2 s, for two levels; setting a run up takes 5 s."""
    counted = [0]
    clock = [0.0]

    def update(trainer: Trainer, batch: object) -> SimpleNamespace:
        counted[0] += 1
        clock[0] += 90.0 if counted[0] == 1 else 2.0
        return SimpleNamespace(losses={"large": 1.0, "small": 1.0})

    new = Trainer.new

    def set_up(*given: object) -> Trainer:
        clock[0] += 5.0
        return new(*given)

    monkeypatch.setattr(Trainer, "update", update)
    monkeypatch.setattr(budget, "Trainer", SimpleNamespace(new=set_up))
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return counted


def n_batches(given, folder) -> int:
    return len(Trainer.new(given, folder).data.epoch(0))


@pytest.mark.parametrize(("batch_seconds", "expected"), [(ONE_BATCH, 1), (THREE_BATCHES, 3)])
def test_four_updates_are_timed_after_one_however_short_an_epoch(
    corpus, tmp_path, n_updates, told, batch_seconds, expected
):
    """An epoch takes 2 s a batch, so that of 128 s the 20 that are left, less 25 %, are 7 epochs of one batch
    or 2 of three."""
    changes = {"sparsity": SPARSE, "data.batch_seconds": batch_seconds, "training.epochs": 50}
    given = config(corpus, changes)
    assert n_batches(given, tmp_path) == expected
    assert budget.within(given, 128.0, told.append).training.epochs == 7 // expected
    assert n_updates == [5]
    assert told == [f"this machine trains {7 // expected} of the 50 epochs in 2.1 minutes"]


def test_before_sparsity_grows_only_the_full_model_is_trained(corpus, n_updates, told):
    changes = {
        "sparsity": SPARSE | {"begin": 0.5, "end": 0.6},
        "data.batch_seconds": ONE_BATCH,
        "training.epochs": 50,
    }
    assert budget.within(config(corpus, changes), 128.0, told.append).training.epochs == 10  # of 1.5 s


def test_what_fits_is_left_as_it_is(corpus, n_updates, told):
    given = config(corpus, {"sparsity": SPARSE, "data.batch_seconds": ONE_BATCH, "training.epochs": 7})
    assert budget.within(given, 128.0, told.append) is given
    assert told == []


def test_two_epochs_that_do_not_fit_are_refused(corpus, n_updates, told):
    given = config(corpus, {"sparsity": SPARSE, "data.batch_seconds": ONE_BATCH, "training.epochs": 8})
    with pytest.raises(
        ValueError, match=r"an epoch takes about 2 s .* not even two fit into 112 s; allow more"
    ):
        budget.within(given, 112.0, told.append)


def test_a_run_of_one_update_is_timed(corpus, told):
    """Four updates come after the end of its schedule."""
    given = config(corpus, {"data.batch_seconds": ONE_BATCH, "training.epochs": 1})
    assert budget.within(given, 3600.0, told.append) is given
