"""Draws docs/images/dynamic-sparsity.png: an update of three levels, and the masks of a whole training.

`python docs/update_picture.py <run>/log.jsonl` from the top folder; needs matplotlib. The run is one with
levels called medium and small. Colours are those of docs/picture.py.
"""

import json
import sys
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from picture import COLOUR, GREY, INK, LETTER, PAPER

ARROW = {"arrowstyle": "-|>", "mutation_scale": 13, "color": INK, "linewidth": 1.3}
DARK = {"small": COLOUR["small"], "medium": "#B87800"}  # of lines on white


def box(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], text: str, name: str = ""
) -> None:
    """A rounded box with a text, in the colour of a level if it is one's."""
    style = {"boxstyle": "round,pad=0,rounding_size=0.8", "edgecolor": INK, "linewidth": 1.0}
    axes.add_patch(FancyBboxPatch(corner, *size, facecolor=COLOUR.get(name, PAPER), **style))
    middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    axes.text(*middle, text, ha="center", va="center", color=LETTER.get(name, INK), fontsize=9)


def arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float], **style: object) -> None:
    """From one point to another."""
    axes.add_patch(FancyArrowPatch(begin, end, **{**ARROW, **style}))


def draw_update(axes: Axes) -> None:
    """Batch, three passes, sum of gradients, one step; and scores, ranks and masks below."""
    axes.set(xlim=(0, 100), ylim=(0, 45))
    axes.set_axis_off()
    box(axes, (1, 23), (10, 8), "batch")
    tops = {"large": 36.0, "medium": 23.0, "small": 10.0}
    losses = {
        "large": "task loss",
        "medium": "task loss\n+ KL(large ‖ medium)",
        "small": "task loss\n+ KL(large ‖ small)",
    }
    for name, bottom in tops.items():
        box(axes, (20, bottom), (17, 8), f"{name}\nforward", name)
        box(axes, (44, bottom), (21, 8), f"{losses[name]}\nbackward", name)
        arrow(axes, (11, 27), (20, bottom + 4))
        arrow(axes, (37, bottom + 4), (44, bottom + 4))
        arrow(axes, (65, bottom + 4), (74, 27))
    axes.plot([40.5, 40.5], [40, 12], color=INK, linestyle="--", linewidth=1.0)
    for bottom in (23, 10):
        arrow(axes, (40.5, bottom + 2), (44, bottom + 2), linestyle="--", linewidth=1.0)
    axes.text(39.8, 33.2, "teaches", fontsize=8.5, style="italic", ha="right")
    box(axes, (74, 23), (11, 8), "sum of\ngradients")
    box(axes, (88, 23), (8, 8), "one\nstep")
    arrow(axes, (85, 27), (88, 27))
    box(axes, (74, 36), (25, 8), "blocks score Σ|w·g|,\naveraged over steps")
    arrow(axes, (65, 41.5), (74, 41.5))
    box(axes, (74, 10), (25, 8), "sometimes: rank them,\nrenew the masks")
    arrow(axes, (98, 36), (98, 18), color=GREY)
    arrow(axes, (86, 10), (28.5, 10), color=GREY, connectionstyle="arc3,rad=-0.13")
    axes.text(57, 4.2, "masks of medium and small", fontsize=8.5, style="italic", ha="center", va="top")


def draw_masks(axes: Axes, log: Path) -> None:
    """Sparsity of each level, and the blocks that returned, at every renewal."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    returned = axes.twinx()
    for name, colour in DARK.items():
        own = [row for row in rows if row["event"] == "masks" and row["level"] == name]
        steps = [row["step"] for row in own]
        axes.plot(steps, [100 * row["sparsity"] for row in own], color=colour, linewidth=2)
        axes.annotate(
            name,
            (steps[-1], 100 * own[-1]["sparsity"]),
            (6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
        returned.fill_between(steps, [row["returned"] for row in own], color=colour, alpha=0.3, linewidth=0)
    last = max(row["step"] for row in rows if row["event"] == "masks")
    end = max(row["step"] for row in rows)
    axes.axvline(last, color=INK, linestyle=":", linewidth=1)
    axes.text(last, 3, " masks freeze", va="bottom")
    axes.set(xlim=(0, end), ylim=(0, 100), xlabel="optimiser steps", ylabel="sparsity, %")
    returned.set(ylim=(0, None), ylabel="blocks that return (shaded)")
    for side in (axes, returned):
        side.spines["top"].set_visible(False)


def draw(log: Path, path: Path) -> None:
    """Writes the picture, 1600 pixels wide."""
    plt.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans", "text.color": INK})
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(8, 6.4), height_ratios=(45, 36), layout="constrained"
    )
    above.set_title("An update: a pass for each level, one step", loc="left", weight="bold", fontsize=11.5)
    below.set_title(
        "A training: sparsity grows, blocks return, masks freeze", loc="left", weight="bold", fontsize=11.5
    )
    draw_update(above)
    draw_masks(below, log)
    figure.savefig(path, dpi=200, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(__file__).parent / "images" / "dynamic-sparsity.png")
