"""Training a language model: stretches of a text side by side, the state carried from window to window."""

import math
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from sparrot.lm.checkpoint import LmCheckpoint, LmPosition, load_lm_checkpoint, save_lm_checkpoint
from sparrot.lm.config import LmConfig
from sparrot.lm.perplexity import next_word_losses, perplexity
from sparrot.lm.sparsity import levels_of, sparsity_of_run, start_from
from sparrot.lm.text import columns, make_vocabulary, numbered, windows
from sparrot.nn.language import LanguageNetwork, States, detached, language_architecture
from sparrot.sentences import read_sentences
from sparrot.sparsity import Level
from sparrot.text import WordTokens
from sparrot.train.checkpoint import find_checkpoint
from sparrot.train.interrupt import Interrupt
from sparrot.train.log import append_row, forget_after
from sparrot.train.losses import counted, means
from sparrot.train.resuming import require_same_recipe

VALID_BATCH = 10  # stretches that are measured side by side: a text of few words is cut into fewer


class LmTrainer:
    """A run: from its texts to its last checkpoint, last.pt, and its best, best.pt."""

    def __init__(self, config: LmConfig, folder: Path, tokens: WordTokens) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.config, self.folder, self.tokens = config, folder, tokens
        train = numbered(read_sentences(Path(config.data.train)), tokens)
        self.train = columns(train, config.batch)
        self.valid = valid_stretches(config.data.valid, tokens)
        torch.manual_seed(config.seed)
        self.network = new_network(config, tokens)
        for parameter in self.network.parameters():
            torch.nn.init.uniform_(parameter, -config.initial, config.initial)
        self.n_windows = math.ceil((self.train.shape[1] - 1) / config.steps)
        self.optimiser = torch.optim.SGD(self.network.parameters(), config.learning_rate)
        n_steps = config.epochs * self.n_windows
        self.sparsity = sparsity_of_run(self.network, config, n_steps, self.optimiser)
        self.position = LmPosition()
        self._states: States | None = None
        self._saved_at = self._told_at = time.monotonic()

    @classmethod
    def new(cls, config: LmConfig, folder: Path) -> "LmTrainer":
        """A new run. Raises ValueError if `folder` already holds one."""
        if (folder / "last.pt").exists():
            raise ValueError(f"{folder} already holds a run: go on with --resume, or choose another folder")
        if config.init_from is None:
            sentences = read_sentences(Path(config.data.train))
            trainer = cls(config, folder, make_vocabulary(sentences, config.data.vocabulary))
        else:
            earlier = load_lm_checkpoint(find_checkpoint(Path(config.init_from)))
            trainer = cls(config, folder, earlier.tokens)
            start_from(trainer.network, earlier, config.init_from)
        folder.mkdir(parents=True, exist_ok=True)
        return trainer

    @classmethod
    def resumed(cls, config: LmConfig, folder: Path) -> "LmTrainer":
        """The run in `folder` as its last checkpoint left it; ValueError if it is of another recipe."""
        checkpoint = load_lm_checkpoint(folder / "last.pt")
        require_same_recipe(folder, checkpoint.config, config)
        trainer = cls(config, folder, checkpoint.tokens)
        trainer.network.load_state_dict(checkpoint.network)
        trainer.optimiser.load_state_dict(checkpoint.optimiser)
        trainer.sparsity.load_state_dict(checkpoint.sparsity)
        trainer.position, trainer._states = checkpoint.position, checkpoint.states
        forget_after(folder / "log.jsonl", trainer.position.step, trainer.position.epoch)
        torch.set_rng_state(checkpoint.random)
        return trainer

    def run(self, console: Console | None = None) -> None:
        """Trains to the end. Raises KeyboardInterrupt after saving, if the user stopped it."""
        console = console or Console(file=sys.stderr)
        self.network.train()
        with Interrupt() as interrupt:
            while self.position.epoch < self.config.epochs:
                for given, following in islice(
                    windows(self.train, self.config.steps), self.position.window, None
                ):
                    self.update(given, following)
                    if time.monotonic() - self._saved_at >= 60.0 * self.config.checkpoint_minutes:
                        self.save("last.pt")
                    if interrupt.requested:
                        self.save("last.pt")
                        raise KeyboardInterrupt
                self._end_epoch(console)

    def update(self, given: Tensor, following: Tensor) -> dict[str, float]:
        """One update at every level: the loss of each, in nats a word."""
        rate = self.config.rate(self.position.epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        losses, teacher, carried = {}, None, None
        for level in self._levels_to_train():
            with self.sparsity.at(level):
                logits, states = self.network(given, self._states)
                loss = next_word_losses(logits, following)
                self._require_finite(loss, level)
                self._minimised(loss, logits, teacher).backward()
            losses[str(level)] = float(loss.detach().mean())
            if teacher is None:
                teacher, carried = logits.detach(), detached(states)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self.optimiser.step()
        for masks in self.sparsity.step():
            self._write({"event": "masks", **vars(masks.renamed(self.network.matrix_names()))})
        self._states = carried
        self.position.step += 1
        self.position.window += 1
        self.position.losses = counted(self.position.losses, losses)
        return losses

    def save(self, name: str) -> None:
        """Writes a checkpoint of the run as it stands."""
        save_lm_checkpoint(
            self.folder / name,
            LmCheckpoint(
                self.config,
                self.tokens,
                self.position,
                self.network.state_dict(),
                self.optimiser.state_dict(),
                self.sparsity.state_dict(),
                self._states,
                torch.get_rng_state(),
            ),
        )
        self._saved_at = time.monotonic()

    def perplexities(self, stretches: Tensor) -> dict[str, float]:
        """Of a text at every level."""
        found = {}
        for level in self.sparsity.levels:
            with self.sparsity.at(level):
                found[level] = perplexity(self.network, stretches)
        return found

    def _levels_to_train(self) -> Sequence[Level]:
        full, *sparser = self.sparsity.passes()
        if not self.sparsity.is_nested:
            return full, *sparser
        return full, *(level for level in sparser if self.sparsity.drops(level))

    def _minimised(self, loss: Tensor, logits: Tensor, teacher: Tensor | None) -> Tensor:
        """Summed over the steps of a window, the mean over stretches (Zaremba et al. 2014).

        A level that is taught has (1 − a) · loss + a · KL(full model ‖ level).
        """
        share = 0.0 if self.config.sparsity is None else self.config.sparsity.distillation
        task = loss.sum() / len(loss)
        if teacher is None or share == 0.0:
            return task
        student, taught = functional.log_softmax(logits, 2), functional.log_softmax(teacher, 2)
        divergence = functional.kl_div(student, taught, reduction="sum", log_target=True) / len(loss)
        return torch.lerp(task, divergence, share)

    def _require_finite(self, loss: Tensor, level: Level) -> None:
        if not torch.isfinite(loss).all():
            raise ValueError(
                f"the loss of level {level} is not finite at step {self.position.step}: lower the learning "
                "rate, or clip_norm"
            )

    def _end_epoch(self, console: Console) -> None:
        self.position.epoch, self.position.window, self._states = self.position.epoch + 1, 0, None
        found = self.perplexities(self.valid)
        now = time.monotonic()
        self.position.minutes += (now - self._told_at) / 60.0
        self._told_at = now
        score = sum(found.values())
        reached = self.sparsity.step_count >= self.sparsity.end
        is_best = reached and (self.position.best is None or score < self.position.best)
        if is_best:
            self.position.best = score
            self.save("best.pt")
        training, self.position.losses = means(self.position.losses), {}
        self._write(
            {
                "event": "valid",
                "epoch": self.position.epoch,
                "perplexity": found,
                "training_loss": training,
                "best": is_best,
            }
        )
        told = " · ".join(f"{level} {value:.2f}" for level, value in found.items())
        best = " (best)" if is_best else ""
        console.print(f"epoch {self.position.epoch}: perplexity {told}{best}", highlight=False)
        self.save("last.pt")

    def _write(self, row: dict[str, object]) -> None:
        minutes = round(self.position.minutes, 2)
        append_row(self.folder / "log.jsonl", {**row, "step": self.position.step, "minutes": minutes})


def new_network(config: LmConfig, tokens: WordTokens) -> LanguageNetwork:
    """The network of a configuration, as torch draws it."""
    width = config.embedding or config.cells
    architecture = language_architecture(tokens.n_tokens, width, config.cells, config.layers)
    return LanguageNetwork(architecture, config.dropout, tuple(levels_of(config)))


def valid_stretches(path: str, tokens: WordTokens) -> Tensor:
    """A text to measure, cut into stretches whose states are carried from beginning to end."""
    ids = numbered(read_sentences(Path(path)), tokens)
    return columns(ids, max(1, min(VALID_BATCH, len(ids) // 1000)))
