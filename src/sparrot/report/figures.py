"""Figures, legible at 800 pixels and in colours that the colour-blind can tell apart."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

# Okabe & Ito 2008: distinct under every common colour deficiency.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")


def draw_levels(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draws the WER of every method and set against the sparsity of its levels, as a PNG.

    rows: of a result; those with metric `wer` and a sparsity, 0 … 1, are drawn; values in per cent.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    series: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["metric"] == "wer" and row["sparsity"] is not None:
            series.setdefault(f"{row['method']}, {row['set']}", []).append(row)
    figure, axes = pyplot.subplots(figsize=(8, 4.8), dpi=100, layout="constrained")
    for (name, given), colour, marker in zip(series.items(), cycle(COLOURS), cycle(MARKERS), strict=False):
        points = sorted(given, key=lambda row: row["sparsity"])
        x, y = [100 * row["sparsity"] for row in points], [row["value"] for row in points]
        axes.plot(x, y, color=colour, marker=marker, label=name)
        for row, a, b in zip(points, x, y, strict=True):
            axes.annotate(
                f"{row['level']}: {b:.2f} %", (a, b), textcoords="offset points", xytext=(0, 8), ha="center"
            )
    axes.set(
        title=title, xlabel="weights and biases dropped (%)", ylabel="word error rate (%)", xlim=(-15, 115)
    )
    axes.set_ylim(bottom=0, top=1.15 * axes.get_ylim()[1])
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=min(len(series), 3))  # no place inside is always free
    figure.savefig(path)
    pyplot.close(figure)
