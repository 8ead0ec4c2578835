"""Draws docs/images/one-file.png: nested masks, the file they make, and a stream that switches level.

`python docs/picture.py` from the top folder; needs matplotlib. The colours are Okabe and Ito's, which stay
apart for colour-blind readers and in grey print; each level is also named where it is drawn.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INK, PAPER, GREY = "#1a1a1a", "white", "#8c8c8c"
COLOUR = {"small": "#0072B2", "medium": "#E69F00", "large": "#D9D9D9"}
LETTER = {"small": PAPER, "medium": INK, "large": INK}
DENSITY = {"small": 0.10, "medium": 0.30, "large": 1.00}  # kept share of the prunable weights
GRID = 20  # blocks a side in the drawn matrices


def first_level_that_keeps(rng: np.random.Generator) -> np.ndarray:
    """0 for each block of a drawn matrix that small keeps, 1 if medium is the first to, 2 if large is."""
    rank = rng.permutation(GRID * GRID).reshape(GRID, GRID)
    small, medium = (round(DENSITY[name] * GRID * GRID) for name in ("small", "medium"))
    return (rank >= small).astype(int) + (rank >= medium)


def draw_masks(axes: Axes, owner: np.ndarray) -> None:
    """The three masks of one matrix side by side; every mask contains the one to its left."""
    axes.set(xlim=(0, 100), ylim=(-4, 29), aspect="equal")
    side = 1.15
    for n_shown, (name, share, left) in enumerate(zip(COLOUR, (90, 70, 0), (4, 38, 72), strict=True)):
        for row, column in np.argwhere(owner <= n_shown):
            colour = list(COLOUR.values())[owner[row, column]]
            corner = (left + column * side, row * side)
            axes.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor=PAPER, linewidth=0.4))
        frame = Rectangle((left, 0), GRID * side, GRID * side, fill=False, edgecolor=INK, linewidth=1.0)
        axes.add_patch(frame)
        axes.text(left, GRID * side + 1.2, f"{name}: {share} % dropped", weight="bold", va="bottom")
    for x in (32.5, 66.5):
        axes.text(x, GRID * side / 2, "⊂", ha="center", va="center", fontsize=22)


def draw_file(axes: Axes) -> None:
    """The file as one bar, in bytes, and under it how far each level reads."""
    axes.set(xlim=(0, 100), ylim=(-13.5, 12))
    base, scale = 11.0, 83.0
    ends = {name: base + scale * share for name, share in DENSITY.items()}
    pieces = [(4.0, base, "header\n+ base", PAPER, INK)]
    starts = [base, ends["small"], ends["medium"]]
    texts = {"small": "small", "medium": "medium adds", "large": "large adds"}
    pieces += [(s, ends[n], texts[n], COLOUR[n], LETTER[n]) for s, n in zip(starts, DENSITY, strict=True)]
    for left, right, text, colour, letter in pieces:
        axes.add_patch(Rectangle((left, 2), right - left, 7, facecolor=colour, edgecolor=INK, linewidth=1.0))
        axes.text((left + right) / 2, 5.5, text, ha="center", va="center", color=letter, fontsize=9.5)
    for level, (name, end) in enumerate(ends.items()):
        y = -1.5 - 4.2 * level
        bar = {"arrowstyle": "|-|,widthA=3,widthB=3", "color": INK, "shrinkA": 0, "shrinkB": 0}
        axes.add_patch(FancyArrowPatch((4, y), (end, y), **bar))
        if name != "large":
            axes.text(end + 1.2, y, f"{name} = the file up to here", va="center")
    axes.text(50, -8.2, "large = the whole file", ha="center", va="center")


def draw_stream(axes: Axes) -> None:
    """Chunks of one stream, the level each ran at, and the recurrent state that goes through all of them."""
    axes.set(xlim=(0, 100), ylim=(-7.5, 12))
    plan = ["large"] * 3 + ["small"] * 4 + ["medium"] * 3
    width, left = 8.4, 10.0
    axes.text(4, 6, "audio", va="center")
    for chunk, name in enumerate(plan):
        x = left + chunk * width
        axes.add_patch(
            Rectangle((x, 3), width - 0.7, 6, facecolor=COLOUR[name], edgecolor=INK, linewidth=1.0)
        )
        axes.text(x + (width - 0.7) / 2, 6, name, ha="center", va="center", color=LETTER[name], fontsize=9)
    state = {"arrowstyle": "-|>", "mutation_scale": 14, "color": INK, "linewidth": 1.6}
    axes.add_patch(FancyArrowPatch((left - 0.4, 1), (left + 10 * width + 3, 1), **state))
    axes.text(4, 1, "state", va="center")
    for chunk, name in ((3, "small"), (7, "medium")):
        x = left + chunk * width - 0.35
        axes.annotate(
            f'stream.set_level("{name}")',
            xy=(x, 2.6),
            xytext=(x, -5.2),
            ha="center",
            family="monospace",
            fontsize=9.5,
            arrowprops={"arrowstyle": "-|>", "color": INK},
        )


def draw(path: Path) -> None:
    """Writes the picture, 1600 pixels wide."""
    plt.rcParams.update({"font.size": 10.5, "font.family": "DejaVu Sans", "text.color": INK})
    figure, rows = plt.subplots(3, 1, figsize=(8, 6.9), height_ratios=(33, 22, 16), layout="constrained")
    titles = (
        "One matrix, three masks: what a sparser level keeps, every denser one keeps too",
        "One file, sparsest level first: a level is a prefix of its bytes",
        "One stream, any level: switching keeps the recurrent state",
    )
    parts = (
        lambda axes: draw_masks(axes, first_level_that_keeps(np.random.default_rng(7))),
        draw_file,
        draw_stream,
    )
    for axes, title, part in zip(rows, titles, parts, strict=True):
        axes.set_axis_off()
        axes.set_title(title, loc="left", weight="bold", fontsize=11.5)
        part(axes)
    figure.savefig(path, dpi=200, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).parent / "images" / "one-file.png")
