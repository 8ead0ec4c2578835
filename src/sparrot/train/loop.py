"""The training loop."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from sparrot.nn.switching import Switching
from sparrot.sparsity import DynamicSparsity, Level
from sparrot.train.average import Average
from sparrot.train.checkpoint import (
    Checkpoint,
    Position,
    Setup,
    load_checkpoint,
    remove_leftovers,
    save_checkpoint,
)
from sparrot.train.config import Config
from sparrot.train.data import Batch, TrainingData, dev_data, require_room
from sparrot.train.evaluation import evaluate
from sparrot.train.gradients import gradient_norm
from sparrot.train.interrupt import Interrupt
from sparrot.train.losses import counted
from sparrot.train.optimisation import make_optimiser, rate_factor, set_rate
from sparrot.train.prefetch import prefetched
from sparrot.train.record import Record
from sparrot.train.resuming import require_same_recipe
from sparrot.train.setup import (
    earlier_run,
    goes_on_sparse,
    levels_of,
    new_network,
    new_setup,
    require_steps,
    sparsity_of_run,
)
from sparrot.train.switching import draw_switching
from sparrot.train.task import AnyNetwork, Heard, build_network, hear
from sparrot.train.update import Pass, Update


class Trainer:
    """A run: from its set-up to its last checkpoint.

    setup:   what it is about.
    folder:  where checkpoints (last.pt, best.pt) and the record go.
    network: with the weights that it starts from.
    """

    def __init__(self, setup: Setup, folder: Path, network: AnyNetwork) -> None:
        self.setup, self.folder, self.config = setup, folder, setup.config
        if self.config.training.threads is not None:
            torch.set_num_threads(self.config.training.threads)
        self.data = TrainingData(self.config, setup.features, setup.tokens)
        require_room(self.data, setup.architecture)
        self.dev = dev_data(self.config, setup.features)
        self.n_steps = sum(len(self.data.epoch(epoch)) for epoch in range(self.config.training.epochs))
        self.network = network
        self.optimiser = make_optimiser(self.network.parameters(), self.config.optimiser)
        self.sparsity = sparsity_of_run(self.network, self.config, self.n_steps, self.optimiser)
        require_steps(self.sparsity, self.n_steps)
        decay = self.config.training.average
        self.average = None if decay is None else Average(self.network, decay)
        self.position = Position()
        self._saved_at = self._told_at = time.monotonic()

    @classmethod
    def resumed(cls, config: Config, folder: Path) -> "Trainer":
        """The run in `folder` as its last checkpoint left it.

        Raises ValueError if the configuration or the training data is not what it was; the threads and
        the minutes between checkpoints may change.
        """
        checkpoint = load_checkpoint(folder / "last.pt")
        require_same_recipe(folder, checkpoint.setup.config, config)
        levels = tuple(levels_of(config))
        network = build_network(checkpoint.setup.architecture, config, levels)
        network.load_state_dict(checkpoint.network)
        trainer = cls(replace(checkpoint.setup, config=config), folder, network)
        if trainer.data.fingerprint() != checkpoint.data:
            raise ValueError(
                f"cannot resume {folder}: the utterances of {', '.join(config.data.train)} are not those it "
                "was trained on; bring them back, or train into another folder"
            )
        remove_leftovers(folder)
        trainer.optimiser.load_state_dict(checkpoint.optimiser)
        if trainer.average is not None and checkpoint.average is not None:
            trainer.average.load_state_dict(checkpoint.average)
        trainer.sparsity.load_state_dict(checkpoint.sparsity)
        trainer.position = checkpoint.position
        torch.set_rng_state(checkpoint.random)
        return trainer

    @classmethod
    def new(cls, config: Config, folder: Path) -> "Trainer":
        """A new run. Raises ValueError if `folder` already holds one."""
        if (folder / "last.pt").exists():
            raise ValueError(f"{folder} already holds a run: go on with --resume, or choose another folder")
        earlier = earlier_run(config)
        setup = new_setup(config, earlier)
        trainer = cls(setup, folder, new_network(setup, earlier))
        if earlier is not None and goes_on_sparse(config, earlier):
            trainer.keep_masks(earlier)
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        return trainer

    def run(self, record: Record) -> None:
        """Trains to the end, keeping checkpoints and the record.

        Raises KeyboardInterrupt after saving, if the user stopped it, and ValueError naming the
        batch if a loss is not finite.
        """
        with Interrupt() as interrupt, record.running(self.n_steps, self.position.step):
            self.network.train()
            self._told_at = time.monotonic()
            while self.position.epoch < self.config.training.epochs:
                for batch in prefetched(self.data.batches(self.position.epoch, self.position.batch)):
                    record.update(self.position, self.update(batch))
                    self._checkpoint_if_due()
                    if interrupt.requested:
                        self.save(self.folder / "last.pt")
                        raise KeyboardInterrupt
                self._end_epoch(record)
                if interrupt.requested:
                    raise KeyboardInterrupt

    def update(self, batch: Batch) -> Update:
        """One update: a forward and backward pass at each level, then one optimiser step."""
        rate = self.config.optimiser.learning_rate * rate_factor(
            self.position.step / self.n_steps, self.config.schedule
        )
        set_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        passes = dict(self._passes(batch))
        self._clip_gradient(batch)
        self.optimiser.step()
        masks = self.sparsity.step()
        if masks:
            names = self.network.matrix_names()
            masks = [update.renamed(names) for update in masks]
        if self.average is not None:
            self.average.update()
        self.position.step += 1
        self.position.batch += 1
        tasks = {level: found.task for level, found in passes.items()}
        self.position.losses = counted(self.position.losses, tasks)
        self._count_minutes()
        return Update(passes, masks, rate)

    def save(self, path: Path) -> None:
        """Writes a checkpoint of the run as it stands."""
        save_checkpoint(
            path,
            Checkpoint(
                self.setup,
                self.data.fingerprint(),
                replace(self.position),
                self.network.state_dict(),
                None if self.average is None else self.average.state_dict(),
                self.optimiser.state_dict(),
                self.sparsity.state_dict(),
                torch.get_rng_state(),
            ),
        )
        self._saved_at = time.monotonic()

    def _passes(self, batch: Batch) -> Iterator[tuple[str, Pass]]:
        teacher: Heard | None = None
        parameters = list(self.network.parameters())
        for level in self._levels_to_train():
            name = level if isinstance(level, str) else "path"
            with self.sparsity.at(level), gradient_norm(parameters) as norm:
                heard, found = self._learn(name, batch, teacher)
            yield name, replace(found, gradient_norm=norm())
            teacher = heard.detached() if teacher is None else teacher
        switching = self._switching(batch)
        if switching is not None:
            with gradient_norm(parameters) as norm:
                _, found = self._learn("switching", batch, teacher, switching)
            yield "switching", replace(found, gradient_norm=norm())

    def _learn(
        self, name: str, batch: Batch, teacher: Heard | None, switching: Switching | None = None
    ) -> tuple[Heard, Pass]:
        """One forward and backward pass with the weights as they are; its gradient norm is not known here."""
        heard: Any = hear(self.network, batch, self.config.training.ctc_share, switching)
        task, divergence = self._losses(heard, batch, teacher, name)
        loss = task if divergence is None else torch.lerp(task, divergence, self._distillation)
        loss.backward()
        told = None if divergence is None else divergence.item()
        return heard, Pass(loss.item(), task.item(), told, math.nan)

    def _switching(self, batch: Batch) -> Switching | None:
        """The levels of the pass that switches, if there is one."""
        sparse = self.config.sparsity
        if sparse is None or sparse.switching is None:
            return None
        longest_s = int(batch.lengths.max()) / self.setup.features.frame_rate_hz
        random = Random(f"{self.config.seed} switching {self.position.step}")
        assert isinstance(self.sparsity, DynamicSparsity)
        return draw_switching(self.sparsity, sparse.switching, longest_s, random)

    @property
    def _distillation(self) -> float:
        return self.config.sparsity.distillation if self.config.sparsity is not None else 0.0

    def _levels_to_train(self) -> tuple[Level, ...]:
        """The levels of the update that differ: the full model, and each that drops something.

        Independent masks are scored by their own passes, which they therefore need from the start.
        """
        full, *sparser = self.sparsity.passes()
        if not self.sparsity.is_nested:
            return full, *sparser
        return full, *(level for level in sparser if self.sparsity.drops(level))

    def _losses(
        self, heard: Heard, batch: Batch, teacher: Heard | None, level: str
    ) -> tuple[Tensor, Tensor | None]:
        """The task's loss, and KL(full model ‖ level) if the level is taught, of the batch, a token of text.

        Raises ValueError that names the utterance if one is not finite.
        """
        n_tokens = batch.target_lengths.sum().clamp(min=1)
        task = heard.loss(batch)
        self._require_finite_losses(f"loss of level {level}", task, batch)
        if teacher is None or self._distillation == 0.0:
            return task.sum() / n_tokens, None
        divergence = heard.divergence(teacher)
        self._require_finite_losses(f"divergence of level {level}", divergence, batch)
        return task.sum() / n_tokens, divergence.sum() / n_tokens

    def _require_finite_losses(self, what: str, losses: Tensor, batch: Batch) -> None:
        """Raises ValueError, before any weight has moved, if an utterance's loss is not finite."""
        wrong = (~torch.isfinite(losses)).nonzero().flatten().tolist()
        if wrong:
            others = f" and {len(wrong) - 1} more of {len(losses)}" if len(wrong) > 1 else ""
            raise ValueError(
                f"the {what} is {losses[wrong[0]].item()} at step {self.position.step} for the utterance "
                f"`{batch.utterances[wrong[0]].id}`{others}; look at it with `sparrot data check`, or lower "
                "optimiser.learning_rate"
            )

    def _clip_gradient(self, batch: Batch) -> None:
        """Scales the gradient of all passes together down to the largest norm that is allowed.

        Raises ValueError, before any weight has moved, if the gradient is not finite.
        """
        largest = self.config.optimiser.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), math.inf if largest is None else largest
        )
        if not torch.isfinite(norm):
            raise ValueError(
                f"the norm of the gradient is {norm.item()} at step {self.position.step}, in the batch of "
                f"{batch.ids}; lower the learning rate, or look at these utterances with `sparrot data check`"
            )

    def _count_minutes(self) -> None:
        now = time.monotonic()
        self.position.minutes += (now - self._told_at) / 60.0
        self._told_at = now

    def _checkpoint_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= 60.0 * self.config.training.checkpoint_minutes:
            self.save(self.folder / "last.pt")

    def _end_epoch(self, record: Record) -> None:
        number = self.position.epoch + 1
        is_due = number % self.config.training.eval_every == 0 or number == self.config.training.epochs
        if is_due:
            self.save(self.folder / "last.pt")  # an evaluation takes its time, and may be killed
        self.position.epoch, self.position.batch = number, 0
        if is_due:
            self._evaluate(record)
        self.save(self.folder / "last.pt")

    def _evaluate(self, record: Record) -> None:
        """Measures dev; the best checkpoint is chosen among those whose sparsity has reached its target."""
        with nullcontext() if self.average is None else self.average.applied():
            share = self.config.training.ctc_share
            dev = evaluate(self.network, self.sparsity, self.dev, self.setup.tokens, share)
        self._count_minutes()
        reached = self.sparsity.step_count >= self.sparsity.end
        better = reached and (self.position.best is None or dev.score < self.position.best)
        record.evaluation(self.position, dev, is_best=better)
        self.position.losses = {}
        if better:
            self.position.best = dev.score
            self.save(self.folder / "best.pt")

    def keep_masks(self, earlier: Checkpoint) -> None:
        """Takes up the masks of the run that this one starts from, if they are of the same levels."""
        if isinstance(self.sparsity, DynamicSparsity) and self.sparsity.matches(earlier.sparsity):
            self.sparsity.start_from(earlier.sparsity)
