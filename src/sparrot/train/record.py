"""What a run leaves to read: a progress bar, `log.jsonl`, and TensorBoard's events."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sparrot.atomic import atomic_write
from sparrot.train.checkpoint import Position
from sparrot.train.evaluation import Evaluation
from sparrot.train.starvation import Starvation
from sparrot.train.update import Update


class Record:
    """The record of one run.

    `log.jsonl` holds an object for every mask update, every evaluation and every level that starves, with
    its step and the minutes of training until then; a run that goes on at `start` drops those after it, so
    that no step is told twice.
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
        self._forget_after(start)

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
        """Takes down the dev error of every level, with a warning when a denser one is worse."""
        errors = {level: {"wer": c.wer, "cer": c.cer, "words": c.words} for level, c in dev.counts.items()}
        for level, error in errors.items():
            self._events.add_scalar(f"dev_wer/{level}", error["wer"], position.step)
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
        row["minutes"] = round(position.minutes, 2)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _forget_after(self, start: Position) -> None:
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [(line, json.loads(line)) for line in lines if line.endswith("\n")]
        kept = [line for line, row in whole if _is_told_by(start, row)]
        with atomic_write(self._path) as file:
            file.write("".join(kept).encode())


def _is_told_by(start: Position, row: dict[str, Any]) -> bool:
    """Whether a row is of the time before a position; an evaluation belongs to the end of its epoch."""
    return bool(row["step"] <= start.step and row.get("epoch", 0) <= start.epoch)
