"""What happened while runs were trained: how matrices got sparser, and what the losses did."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sparrot.report.accuracy import slug
from sparrot.report.drawing import COLOURS, Cell, Picture, canvas, legend_below, styles
from sparrot.report.runs import Run

_RECURRENT = ("lstm", "gru", "rnn")
_LINES = {"a recurrent matrix": "-", "a linear matrix": "--"}


def draw_schedule(runs: Sequence[Run]) -> Picture | None:
    """How a recurrent and a linear matrix got sparser, on one axis; after figure 4a of the paper.

    None if no record tells of single matrices.
    """
    told = [run for run in runs if any("matrices" in row for row in run.renewals)]
    chosen = {run.name: _watched_matrices(run) for run in told}
    rows: list[list[Cell]] = []
    with canvas(4.8) as drawn:
        axes = drawn.axes
        for n, (run, (colour, marker)) in enumerate(zip(told, styles(), strict=False)):
            axes.plot([], [], color=colour, marker=marker, label=str(run.treatment))
            style = {"color": colour, "marker": marker, "markevery": (0.01 * (n % 10), 0.2)}
            for kind, name in chosen[run.name].items():
                steps, shares = _shares(run, name)
                axes.step(steps, shares, where="post", linestyle=_LINES[kind], **style)
                rows += [
                    [run.name, str(run.treatment), name, *pair] for pair in zip(steps, shares, strict=True)
                ]
        for kind, line in _LINES.items():
            names = {found[kind] for found in chosen.values() if kind in found}
            if names:
                axes.plot(
                    [], [], color="black", linestyle=line, label=kind if len(names) > 1 else names.pop()
                )
        axes.set(
            title="Sparsity while training", xlabel="update", ylabel="weights dropped (%)", ylim=(0, 100)
        )
        axes.grid(alpha=0.3)
        legend_below(drawn.figure, axes)
    if not rows:
        return None
    return Picture(
        f"schedule-{slug(told[0].name)}",
        "Pruning schedules",
        "A recurrent matrix (solid) and a linear one (dashed) of every run. After figure 4a of Narang et al. "
        "2017 on block sparsity, where blocks go later and faster than weights.",
        drawn.png,
        ["run", "method", "matrix", "update", "sparsity %"],
        rows,
    )


def draw_losses(run: Run) -> Picture | None:
    """Losses of training and of the watched set after every epoch, over the sparsity; after the poster.

    None if the record tells no loss.
    """
    level = run.points[-1].level
    told = [(row["epoch"], row["step"], *_losses(row, level)) for row in run.evaluations]
    told = [found for found in told if found[2] is not None or found[3] is not None]
    if not told:
        return None
    epochs = [found[0] for found in told]
    renewals = [row for row in run.renewals if row["level"] == level]
    per_epoch = run.evaluations[-1]["step"] / run.evaluations[-1]["epoch"]
    with canvas(5.2, 2, 1, sharex=True, height_ratios=(3, 2)) as drawn:
        losses, sparsity = drawn.axes
        losses.plot(epochs, [found[2] for found in told], color=COLOURS[0], marker="o", label="training")
        losses.plot(epochs, [found[3] for found in told], color=COLOURS[1], marker="s", label=run.watched)
        losses.set(title=f"{run.name} ({run.treatment})", ylabel="loss (nats a token)")
        losses.legend(frameon=False)
        steps = [0.0, *(row["step"] / per_epoch for row in renewals), float(run.evaluations[-1]["epoch"])]
        shares = [0.0, *(100 * row["sparsity"] for row in renewals)]
        sparsity.step(steps, [*shares, shares[-1]], where="post", color=COLOURS[2])
        sparsity.set(xlabel="epoch", ylabel="sparsity (%)", ylim=(0, 100))
        for axes in drawn.axes:
            axes.grid(alpha=0.3)
    return Picture(
        f"losses-{slug(run.name)}",
        f"{run.name}: losses and sparsity over training",
        "The loss of training is the mean over an epoch, with dropout and augmentation; that of the watched "
        "set is measured at its end. Sparsity is that of the prunable weights. After the poster's losses of "
        "iterative pruning.",
        drawn.png,
        ["epoch", "update", "training loss", "loss of the watched set"],
        told,
    )


def _watched_matrices(run: Run) -> dict[str, str]:
    """The recurrent matrix in the middle of the network, and its last linear one, as far as it has them."""
    recurrent = [m.name for m in run.pruned_matrices if m.type in _RECURRENT and "recurrent" in m.name]
    linear = [m.name for m in run.pruned_matrices if m.type == "fc"]
    found = recurrent[len(recurrent) // 2 :][:1], linear[-1:]
    return {kind: names[0] for kind, names in zip(_LINES, found, strict=True) if names}


def _shares(run: Run, name: str) -> tuple[list[int], list[float]]:
    """Updates, from the first to the last, and the per cent of a matrix that was dropped from each on."""
    level = run.points[-1].level
    renewals = [row for row in run.renewals if row["level"] == level and "matrices" in row]
    shares = [0.0, *(100 * row["matrices"][name] for row in renewals)]
    return [0, *(row["step"] for row in renewals), _last_step(run)], [*shares, shares[-1]]


def _losses(row: Mapping[str, Any], level: str) -> tuple[float | None, float | None]:
    """Of training and of the watched set, nats a token; a level that was not trained yet is the full one."""
    if "perplexity" in row:
        training = row.get("training_loss") or {}
        return training.get(level), math.log(row["perplexity"][level])
    found = row["levels"][level]
    return found.get("training_loss"), found.get("loss")


def _last_step(run: Run) -> int:
    return int(run.evaluations[-1]["step"])
