"""How many epochs fit into a given time on this machine."""

import time
from collections.abc import Callable
from itertools import chain, count, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sparrot.train.config import Config
from sparrot.train.loop import Trainer

_N_TIMED = 4  # updates, after one that warms up
_RESERVE = 0.25  # of the time: evaluations, masks, teaching, and machines that slow down


def within(config: Config, seconds: float, tell: Callable[[str], None]) -> Config:
    """The configuration with at most as many epochs as fit into `seconds`, timed on a few updates.

    What the timing takes counts, and so does setting the run up once more.
    tell: is told when epochs are left out. Raises ValueError if not even two fit.
    """
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        trainer = Trainer.new(config, Path(folder))
        set_up = time.perf_counter() - started
        a_pass = _seconds_a_pass(trainer)
        n_batches = len(trainer.data.epoch(0))
    left = seconds - set_up - (time.perf_counter() - started)
    begin = 0.0 if config.sparsity is None else config.sparsity.begin
    n_levels = 1 if config.sparsity is None else len(config.sparsity.levels)
    an_epoch = a_pass * n_batches * (begin + (1.0 - begin) * n_levels)
    epochs = int(left * (1.0 - _RESERVE) / an_epoch)
    if epochs >= config.training.epochs:
        return config
    if epochs < 2:
        raise ValueError(
            f"an epoch takes about {an_epoch:.0f} s on this machine, so that not even two fit into "
            f"{seconds:.0f} s; allow more --minutes"
        )
    tell(f"this machine trains {epochs} of the {config.training.epochs} epochs in {seconds / 60:.1f} minutes")
    training = config.training.model_copy(update={"epochs": epochs})
    return config.model_copy(update={"training": training})


def _seconds_a_pass(trainer: Trainer) -> float:
    """Time of one forward and backward pass, with its share of the rest of an update.

    Where an epoch has too few batches to time, those of the next epochs follow.
    """
    times = []
    batches = chain.from_iterable(trainer.data.batches(epoch) for epoch in count())
    for batch in islice(batches, _N_TIMED + 1):
        started = time.perf_counter()
        update = trainer.update(batch)
        times.append((time.perf_counter() - started) / len(update.losses))
    return median(times[1:])
