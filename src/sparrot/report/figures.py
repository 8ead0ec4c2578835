"""The figure of a recipe's result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparrot.atomic import atomic_write
from sparrot.report.drawing import canvas, legend_below, styles


def draw_levels(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draws the WER of every method and set against the sparsity of its levels, as a PNG.

    rows: of a result; those with metric `wer` and a sparsity, 0 … 1, are drawn; values in per cent.
    """
    series: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["metric"] == "wer" and row["sparsity"] is not None:
            series.setdefault(f"{row['method']}, {row['set']}", []).append(row)
    with canvas(4.8) as drawn:
        axes = drawn.axes
        for (name, given), (colour, marker) in zip(series.items(), styles(), strict=False):
            points = sorted(given, key=lambda row: row["sparsity"])
            x, y = [100 * row["sparsity"] for row in points], [row["value"] for row in points]
            axes.plot(x, y, color=colour, marker=marker, label=name)
            for row, a, b in zip(points, x, y, strict=True):
                told = f"{row['level']}: {b:.2f} %"
                axes.annotate(told, (a, b), textcoords="offset points", xytext=(0, 8), ha="center")
        axes.set(title=title, xlabel="weights and biases dropped (%)", ylabel="word error rate (%)")
        axes.set_xlim(-15, 115)
        axes.set_ylim(bottom=0, top=1.15 * axes.get_ylim()[1])
        axes.grid(alpha=0.3)
        legend_below(drawn.figure, axes)
    with atomic_write(path) as file:
        file.write(drawn.png)
