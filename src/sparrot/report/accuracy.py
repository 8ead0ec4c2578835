"""Error against sparsity, for every method and block size."""

from collections.abc import Iterator, Sequence

from sparrot.report.drawing import Cell, Picture, canvas, legend_below, styles
from sparrot.report.runs import Run, dense_of

_CAPTION = (
    "One mark a level of a run, one colour a method and block size; a line joins the levels of a model, "
    "and the dotted line is the best dense model. After figure 3 of Narang et al. 2017 on block sparsity, "
    "which draws relative accuracy: the column `% loss` of the CSV."
)
_UNITS = {"wer": ("word error rate (%)", 100.0), "perplexity": ("perplexity", 1.0)}


def draw_accuracy(runs: Sequence[Run], everything: Sequence[Run]) -> Picture:
    """The error of every level of runs that were watched with one set; after figure 3 of the paper on blocks.

    everything: where the dense run that a run came from is looked for.
    """
    watched, (label, factor) = runs[0].watched, _UNITS[runs[0].metric]
    rows = [row for run in runs for row in _rows(run, factor, everything)]
    styled = dict(zip(dict.fromkeys(str(run.treatment) for run in runs), styles(), strict=False))
    with canvas(4.8) as drawn:
        axes, named = drawn.axes, set()
        for run in runs:
            treatment = str(run.treatment)
            colour, marker = styled[treatment]
            x = [100 * point.sparsity for point in run.points]
            y = [factor * point.errors[run.metric] for point in run.points]
            name = treatment if treatment not in named else None
            axes.plot(x, y, color=colour, marker=marker, label=name)
            named.add(treatment)
        dense = [factor * run.points[0].errors[run.metric] for run in runs if run.treatment.method == "dense"]
        if dense:
            axes.axhline(min(dense), color=styled["dense"][0], linewidth=0.8, linestyle=":")
        axes.set(
            title=f"Error against sparsity: {watched}", xlabel="weights and biases dropped (%)", ylabel=label
        )
        axes.grid(alpha=0.3)
        axes.set_ylim(0, 1.08 * max(factor * p.errors[run.metric] for run in runs for p in run.points))
        if all(point.sparsity == 0 for run in runs for point in run.points):
            axes.set_xlim(-4, 100)
        legend_below(drawn.figure, axes)
    title = f"Accuracy against sparsity: {watched}"
    header = ["run", "method", "level", "sparsity %", label, "% loss"]
    return Picture(f"accuracy-{slug(watched)}", title, _CAPTION, drawn.png, header, rows)


def _rows(run: Run, factor: float, everything: Sequence[Run]) -> Iterator[list[Cell]]:
    for point in run.points:
        error = point.errors[run.metric]
        loss = _loss(run, error, everything)
        yield [run.name, str(run.treatment), point.level, 100 * point.sparsity, factor * error, loss]


def _loss(run: Run, error: float, everything: Sequence[Run]) -> float | None:
    """How much worse than the dense model it came from, in per cent; None if that is not among the runs."""
    dense = dense_of(run, everything)
    if dense is None:
        return None
    before = dense.points[0].errors[run.metric]
    return 100 * (error / before - 1) if before else None


def slug(text: str) -> str:
    """A name that files can have: small letters, digits and hyphens."""
    return "-".join("".join(c if c.isalnum() and c.isascii() else " " for c in text.lower()).split())
