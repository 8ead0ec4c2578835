"""Where the zeros are: by layer, by neuron, in a matrix, and among the values of its weights."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sparrot.architecture import Matrix
from sparrot.report.accuracy import slug
from sparrot.report.drawing import COLOURS, Cell, Picture, canvas, legend_below, styles
from sparrot.report.runs import Run, Weights

_LAYERS_CAPTION = (
    "Every matrix of the recurrent layers, from the input to the output, under the same pruning; σ is the "
    "standard deviation over them, in points. Exact methods that rank each matrix alone have none. After "
    "figure 5 of Narang et al. 2017 on block sparsity, where it grows with the block size."
)
_NEURONS_CAPTION = (
    "A neuron is an input of a pruned matrix; it is dead if all its outgoing weights are zero. After figure "
    "4b of Narang et al. 2017 on block sparsity: 180 of 38,270 dead at 89 %, 1,620 at 94 %."
)
_RECURRENT = ("lstm", "gru", "rnn")
_CELLS_OF_MAP = 96  # a side of a drawn matrix is at most so many cells
_BINS = 81

Counts = NDArray[np.int64]


def draw_layers(runs: Sequence[Run]) -> Picture | None:
    """The sparsity of every recurrent matrix of runs with one architecture; after figure 5 of the paper.

    None if no run drops anything there.
    """
    labels = [matrix.name for matrix in runs[0].pruned_matrices if matrix.type in _RECURRENT]
    series = {name: shares for run in runs for name, shares in _by_layer(run, labels) if any(shares)}
    if not series:
        return None
    with canvas(5.2) as drawn:
        axes = drawn.axes
        for (name, shares), (colour, marker) in zip(series.items(), styles(), strict=False):
            label = f"{name}: σ {np.std(shares):.1f}"
            axes.plot(range(len(labels)), shares, color=colour, marker=marker, linewidth=1.2, label=label)
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
        axes.set(title="Sparsity of the recurrent layers", ylabel="weights dropped (%)")
        axes.grid(alpha=0.3)
        legend_below(drawn.figure, axes)
    rows: list[list[Cell]] = [[name, *shares, float(np.std(shares))] for name, shares in series.items()]
    header = ["run", *labels, "standard deviation"]
    name = f"layers-{slug(runs[0].name)}"
    return Picture(name, "Sparsity by layer", _LAYERS_CAPTION, drawn.png, header, rows)


def _by_layer(run: Run, labels: Sequence[str]) -> Iterator[tuple[str, list[float]]]:
    """Of every level: what it is called, and its sparsity in per cent, matrix by matrix."""
    for point in run.points:
        found = zeros_by_matrix(run, point.level)
        level = f", {point.level}" if len(run.points) > 1 else ""
        yield f"{run.name}{level} ({run.treatment})", [100 * found.get(name, 0.0) for name in labels]


def draw_bars(run: Run) -> Picture:
    """What every level keeps of every matrix; after the bars of the poster."""
    names = [matrix.name for matrix in run.pruned_matrices]
    shares = {point.level: zeros_by_matrix(run, point.level) for point in run.points}
    height = max(2.6, 0.30 * len(names) * max(1, len(shares)) ** 0.5 + 1.4)
    with canvas(height) as drawn:
        axes, width = drawn.axes, 0.8 / len(shares)
        for n, (level, found) in enumerate(shares.items()):
            kept = [100 * (1 - found[name]) for name in names]
            places = np.arange(len(names)) + (n - (len(shares) - 1) / 2) * width
            bars = axes.barh(
                places, kept, 0.92 * width, color=COLOURS[n % 7], label=f"{level}: {_overall(run, level)}"
            )
            axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8.5)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set(title=f"{run.name}: what is kept of every matrix", xlabel="weights kept (%)", xlim=(0, 112))
        axes.grid(axis="x", alpha=0.3)
        legend_below(drawn.figure, axes)
    return Picture(
        f"kept-{slug(run.name)}",
        f"{run.name}: non-zero weights by layer",
        "The legend has the share of all parameters that is zero. After the bars of the poster, at 90.54 %.",
        drawn.png,
        ["matrix", *(f"kept % at {level}" for level in shares)],
        [[name, *(100 * (1 - found[name]) for found in shares.values())] for name in names],
    )


def draw_neurons(runs: Sequence[Run]) -> Picture | None:
    """How many outgoing weights every neuron has, at every sparsity of runs that were pruned alike.

    A neuron is an input of a matrix: one that several matrices read counts in each, as the 38,270 of the
    paper do (1,312 + 21 · 1,760). None if nothing is dropped.
    """
    found = {name: counts for run in runs for name, counts in _connections(run)}
    if not found:
        return None
    most = max(int(counts.max()) for counts in found.values())
    edges = np.linspace(0, most + 1, min(60, most + 1) + 1)
    with canvas(4.6) as drawn:
        axes = drawn.axes
        for (name, counts), (colour, _) in zip(found.items(), styles(), strict=False):
            label = f"{name}: {_dead(counts):,} of {len(counts):,} dead"
            axes.hist(counts, edges, histtype="step", linewidth=1.6, color=colour, label=label)
        axes.set_yscale("symlog", linthresh=1)
        axes.set(title="Outgoing connections of the neurons", xlabel="non-zero outgoing weights")
        axes.set_ylabel("neurons")
        axes.grid(alpha=0.3)
        legend_below(drawn.figure, axes)
    rows: list[list[Cell]] = [
        [name, len(c), _dead(c), int(c.min()), float(np.median(c)), int(c.max())] for name, c in found.items()
    ]
    header = ["run", "neurons", "dead", "fewest", "median", "most"]
    name = f"neurons-{slug(runs[0].name)}"
    return Picture(name, "Outgoing connections per neuron", _NEURONS_CAPTION, drawn.png, header, rows)


def _connections(run: Run) -> Iterator[tuple[str, Counts]]:
    """Of every level that drops something: what it is called, and the connections of its neurons."""
    for point in run.points:
        if point.sparsity > 0:
            level = f", {point.level}" if len(run.points) > 1 else ""
            name = f"{run.name}{level} ({100 * point.sparsity:.0f} %)"
            yield name, outgoing(run.weights(point.level))


def _dead(counts: Counts) -> int:
    return int((counts == 0).sum())


def draw_map(run: Run) -> Picture:
    """Where the weights of a matrix that the sparsest level keeps are."""
    matrix, level = shown_matrix(run), run.points[-1].level
    weights = run.weights(level)[matrix.name]
    shares = density(weights, _CELLS_OF_MAP)
    height = min(7.0, max(3.0, 6.2 * weights.shape[0] / weights.shape[1] * 0.5 + 1.6))
    with canvas(height) as drawn:
        rows, columns = weights.shape
        image = drawn.axes.imshow(
            100 * shares,
            cmap="cividis",
            aspect="auto",
            interpolation="nearest",
            extent=(0, columns, rows, 0),
            vmin=0,
        )
        drawn.figure.colorbar(image, label="non-zero weights (%)")
        drawn.axes.set(
            title=f"{run.name}, {level}: {matrix.name}, {rows} × {columns}", xlabel="input", ylabel="output"
        )
        for gate in range(1, matrix.gates):
            drawn.axes.axhline(gate * rows / matrix.gates, color="white", linewidth=0.8)
    return Picture(
        f"map-{slug(run.name)}",
        f"{run.name}: non-zero weights of {matrix.name}",
        f"Each cell is a rectangle of {_cell(weights, shares)} weights; white lines part the gates. A dark "
        "column is a neuron that is hardly listened to. After the heat-map of the poster.",
        drawn.png,
        ["row of cells", *(f"{100 * k / shares.shape[1]:.0f} %" for k in range(shares.shape[1]))],
        [[n, *(float(v) for v in 100 * row)] for n, row in enumerate(shares)],
    )


def draw_histograms(run: Run, origin: Run) -> Picture:
    """The weights of a matrix in the original model, of those that pruning left there, and after training on.

    origin: the dense run whose weights this one started from.
    """
    matrix, level = shown_matrix(run), run.points[-1].level
    final = run.weights(level)[matrix.name]
    first = origin.model.parameters(origin.points[0].level)[matrix.name]
    values = {
        "original": first.ravel(),
        "pruned": first[final != 0],
        "fine-tuned": final[final != 0],
    }
    reach = float(np.quantile(np.abs(np.concatenate(list(values.values()))), 0.999))
    edges = np.linspace(-reach, reach, _BINS)
    with canvas(3.4, 1, 3, sharex=True) as drawn:
        counts = {}
        for axes, (name, given), colour in zip(drawn.axes, values.items(), COLOURS, strict=False):
            counts[name], _, _ = axes.hist(given, edges, density=True, color=colour)
            axes.set(title=f"{name}: {given.size:,}", xlabel="value of a weight")
            axes.grid(alpha=0.3)
        drawn.axes[0].set_ylabel("density")
    return Picture(
        f"weights-{slug(run.name)}",
        f"{run.name}: values of the weights of {matrix.name}",
        f"The original is {origin.name}; pruned are those of its weights that the final mask keeps; "
        "fine-tuned are the same ones after training. Zeros are left out; over each stands how many there "
        "are. After the histograms of the poster.",
        drawn.png,
        ["from", "to", *(f"density, {name}" for name in counts)],
        [
            [float(edges[k]), float(edges[k + 1]), *(float(of[k]) for of in counts.values())]
            for k in range(_BINS - 1)
        ],
    )


def zeros_by_matrix(run: Run, level: str) -> dict[str, float]:
    """Share of every prunable matrix that is zero at a level."""
    return {name: float((array == 0).mean()) for name, array in run.weights(level).items()}


def outgoing(weights: Mapping[str, Weights]) -> Counts:
    """Non-zero weights of every column of every matrix, stored (outputs, inputs), one after the other."""
    return np.concatenate([np.count_nonzero(array, axis=0) for array in weights.values()])


def density(weights: Weights, most: int) -> NDArray[np.float64]:
    """Share of non-zero weights in a grid of at most `most` × `most` cells of about equal size."""
    rows, columns = (np.linspace(0, n, min(n, most) + 1).astype(int) for n in weights.shape)
    kept = (weights != 0).astype(np.float64)
    sums = np.add.reduceat(np.add.reduceat(kept, rows[:-1], axis=0), columns[:-1], axis=1)
    sizes = np.outer(np.diff(rows), np.diff(columns))
    return np.asarray(sums / sizes)


def shown_matrix(run: Run) -> Matrix:
    """The matrix that maps and histograms show: the largest of the recurrent ones, or of all."""
    pruned = run.pruned_matrices
    recurrent = [matrix for matrix in pruned if matrix.type in _RECURRENT]
    return max(recurrent or pruned, key=lambda matrix: matrix.size)


def _cell(weights: Weights, shares: NDArray[np.float64]) -> str:
    sides = (n / cells for n, cells in zip(weights.shape, shares.shape, strict=True))
    return " × ".join(f"{side:.3g}" for side in sides)


def _overall(run: Run, level: str) -> str:
    return f"{100 * run.level(level).overall_sparsity:.2f} % zero"
