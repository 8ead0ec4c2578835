"""What a run leaves to read: a progress bar, `log.jsonl`, and TensorBoard's events."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sparrot.train.checkpoint import Position
from sparrot.train.evaluation import Evaluation
from sparrot.train.log import append_row, forget_after
from sparrot.train.losses import means
from sparrot.train.starvation import Starvation
from sparrot.train.update import Update


class Record:
    """The record of one run.

    `log.jsonl` holds an object for every mask update, every evaluation and every level that starves, with
    its step and the minutes of training until then; a run that goes on at `start` drops those after it, so
    that no step is told twice. Losses of training are means over the updates since the last evaluation.
    """

    def __init__(self, folder: Path, start: Position, *, console: Console | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / "log.jsonl"
        self._console = console or Console(file=sys.stderr)
        self._events: Any = SummaryWriter(
            str(folder / "tensorboard"), purge_step=start.step + 1 if start.step else None
        )
        self._progress: Progress | None = None
        self._starvation = Starvation()
        forget_after(self._path, start.step, start.epoch)

    @contextmanager
    def running(self, n_steps: int, step: int) -> Iterator[None]:
        """Shows the progress bar within the block."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Progress(*columns, console=self._console) as progress:
            self._progress = progress
            self._task = progress.add_task("training", total=n_steps, completed=step)
            try:
                yield
            finally:
                self._progress = None
                self._events.close()

    def update(self, position: Position, update: Update) -> None:
        """Takes down one update."""
        for level, found in update.passes.items():
            for name, value in vars(found).items():
                if value is not None:
                    self._events.add_scalar(f"{name}/{level}", value, position.step)
        self._events.add_scalar("learning_rate", update.rate, position.step)
        for masks in update.masks:
            self._events.add_scalar(f"sparsity/{masks.level}", masks.sparsity, position.step)
            self._events.add_scalar(f"returned_blocks/{masks.level}", masks.returned, position.step)
            self._write({"event": "masks", **vars(masks)}, position)
        for level, share in self._starvation.watch(update.passes).items():
            self._write(
                {"event": "starving", "step": position.step, "level": level, "share": share}, position
            )
            self._warn(
                f"level {level} starves: its gradient has had {share:.1%} of the full model's norm; lower "
                "sparsity.distillation, so that the task itself teaches it more"
            )
        if self._progress is not None:
            losses = " ".join(f"{level} {loss:.3f}" for level, loss in update.losses.items())
            self._progress.update(
                self._task, advance=1, description=f"epoch {position.epoch + 1} · loss {losses}"
            )

    def evaluation(self, position: Position, dev: Evaluation, *, is_best: bool) -> None:
        """Takes down the dev error and losses of every level, with a warning when a denser one is worse."""
        errors: dict[str, dict[str, float | int | None]] = {
            level: {"wer": c.wer, "cer": c.cer, "words": c.words} for level, c in dev.counts.items()
        }
        training = means(position.losses)
        for level, error in errors.items():
            error["loss"] = loss = _known(dev.levels[level].loss)
            error["training_loss"] = training.get(level)
            self._events.add_scalar(f"dev_wer/{level}", error["wer"], position.step)
            if loss is not None:
                self._events.add_scalar(f"dev_loss/{level}", loss, position.step)
        row = {
            "event": "dev",
            "step": position.step,
            "epoch": position.epoch,
            "levels": errors,
            "best": is_best,
        }
        self._write(row, position)
        told = " · ".join(f"{level} {c.wer:.2%} WER, {c.cer:.2%} CER" for level, c in dev.counts.items())
        self._console.print(f"epoch {position.epoch}: {told}{' (best)' if is_best else ''}", highlight=False)
        disorder = dev.disorder()
        if disorder is not None:
            self._warn(disorder)

    def _warn(self, sentence: str) -> None:
        self._console.print(f"warning: {sentence}", style="yellow", highlight=False)

    def _write(self, row: dict[str, Any], position: Position) -> None:
        append_row(self._path, {**row, "minutes": round(position.minutes, 2)})


def _known(value: float) -> float | None:
    """A number that JSON has, or None."""
    return value if math.isfinite(value) else None
