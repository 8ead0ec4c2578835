"""Tables shaped like those of the papers, with our runs beside the published rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparrot.report.drawing import Cell, Rows, to_csv
from sparrot.report.published import LAYERS, TABLES, Family, Layer, Published, PublishedTable
from sparrot.report.runs import Point, Run, dense_of

_OWN = ("our run", "parameters", "sparsity", "error (% loss)", "on", "epochs", "minutes")
_LAYER_OWN = ("fastest here", "speed-up here", "memory saved here")


@dataclass(frozen=True)
class Table:
    """A table of a report; `n_published` of its columns, the first ones, are the paper's."""

    name: str
    title: str
    caption: str
    header: Sequence[str]
    rows: Rows
    n_published: int = 0

    def csv(self) -> str:
        """It as comma-separated values."""
        return to_csv(self.header, self.rows)


def overview(runs: Sequence[Run]) -> Table:
    """Every level of every run."""
    rows: list[list[Cell]] = []
    for run in runs:
        for point in run.points:
            rows.append(
                [
                    run.name,
                    str(run.treatment),
                    point.level,
                    _millions(point.parameters),
                    f"{100 * point.sparsity:.1f} %",
                    _written(point.errors),
                    run.watched,
                    run.epochs,
                    round(run.minutes, 1),
                ]
            )
    header = ("run", "method", "level", "parameters", "sparsity", "error", "on", "epochs", "minutes")
    return Table(
        "runs",
        "Every run",
        "Sparsity is the share of all parameters that is dropped, biases counted. Errors are of the set that "
        "training was watched with; minutes are those of this run's training alone.",
        header,
        rows,
    )


def beside_published(runs: Sequence[Run]) -> list[Table]:
    """The tables of the papers, each row with the runs of its method."""
    return [_beside(table, runs) for table in TABLES]


def layers_table(timings: Path) -> Table:
    """Table 6 of the paper, speed and memory of one layer, with ours out of the result of a benchmark.

    timings: `results/kernels/result.json`, as `benchmarks/kernels.py --json` writes it.

    Raises ValueError if the file is none.
    """
    measured = _timings(timings)
    rows = [[*_printed_layer(layer), *_measured_layer(layer, measured)] for layer in LAYERS]
    rows.append(["no row of the paper", "", "", "", "", "", *_speed("16×1", measured), ""])
    return Table(
        "table-6",
        "Speed and memory of one layer (bsr table 6)",
        "Published: a TitanX Maxwell, batch 16, cuSPARSE against cuBLAS; the sparsities are not stated. "
        "Ours: 1760 × 1760 at 90 %, batch 16, float32, one thread; the fastest product that was measured "
        "with such blocks, of whatever library, against the fastest dense one. Memory is that of the model "
        "file for a layer as sparse as the paper's memory makes it, against dense float32.",
        ("model", "layer size", "block", "speed-up", "memory saved", "CER (% loss)", *_LAYER_OWN),
        rows,
        6,
    )


def _beside(table: PublishedTable, runs: Sequence[Run]) -> Table:
    found: dict[int, list[tuple[Run, Point]]] = {}
    for run in runs:
        if not _belongs(run, table.family):
            continue
        for point in run.points:
            place = _place(table, run, point)
            if place is not None:
                found.setdefault(place, []).append((run, point))
    rows = []
    for n, published in enumerate(table.rows):
        printed = [published.model, *published.cells, published.epochs, published.wall_time]
        own = [_own(table, run, point, runs) for run, point in found.get(n, [])]
        if not own:
            own = [["not run" if published.methods else "", *[""] * (len(_OWN) - 1)]]
        rows += [
            [*(printed if first else [""] * len(printed)), *cells]
            for first, cells in zip([True, *[False] * (len(own) - 1)], own, strict=True)
        ]
    header = ["model", *table.headings, "epochs", "wall time", *_OWN]
    return Table(
        table.name,
        table.title,
        f"Left: {table.source}; its wall times are not published unless they stand here. Right: our runs of "
        "the same method, on another task and of another size, so that only what is lost against the dense "
        "model compares.",
        header,
        rows,
        len(table.headings) + 3,
    )


def _place(table: PublishedTable, run: Run, point: Point) -> int | None:
    """The row beside which a level stands: of its method and block, and of these that of nearest sparsity."""
    fitting = [n for n, row in enumerate(table.rows) if _fits(row, run)]
    if not fitting:
        return None
    return min(fitting, key=lambda n: abs((table.rows[n].sparsity or 0.0) - point.sparsity))


def _fits(row: Published, run: Run) -> bool:
    return run.treatment.method in row.methods and row.block in ("", run.treatment.block)


def _own(table: PublishedTable, run: Run, point: Point, runs: Sequence[Run]) -> list[Any]:
    error, dense = point.errors[table.metric], dense_of(run, runs)
    factor = 1.0 if table.metric == "perplexity" else 100.0
    loss = ""
    if dense is not None and dense.points[0].errors[table.metric] > 0:
        lost = 100 * (1 - error / dense.points[0].errors[table.metric])
        loss = f" ({lost:.1f} %)".replace("-", "−") if lost else " (0.0 %)"
    return [
        run.name,
        _millions(point.parameters),
        f"{100 * point.sparsity:.1f} %",
        f"{factor * error:.2f}{loss}",
        run.watched,
        run.epochs,
        round(run.minutes, 1),
    ]


def _belongs(run: Run, family: Family) -> bool:
    if run.is_language or family == "lm":
        return run.is_language and family == "lm"
    is_gru = any(matrix.type == "gru" for matrix in run.pruned_matrices)
    return is_gru == (family == "gru")


def _printed_layer(layer: Layer) -> list[str]:
    return [layer.model, str(layer.width), layer.block, layer.speedup, layer.memory, layer.cer]


def _timings(path: Path) -> list[Mapping[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [row for row in rows if isinstance(row["metric"], str)]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is no result of benchmarks/kernels.py: give the result.json that it writes"
        ) from None


def _measured_layer(layer: Layer, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    asked = {
        "method": "sparrot",
        "metric": "kernels.bytes.saving",
        "type": "fp32",
        "set": f"{layer.width}×{layer.width}, storage",
        "level": f"{layer.stored} in {layer.block}",
    }
    saved = [row["value"] for row in rows if asked.items() <= row.items()]
    memory = f"{saved[0]:.2g}× at {layer.stored}" if saved else "not measured"
    return [*_speed(layer.block, rows), memory]


def _speed(block: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fastest product with such blocks, and how much faster than the fastest dense one it is."""
    asked = {"contest": "hot", "shape": "1760×1760", "metric": "kernels.time.fp32.b16"}
    timed = [row for row in rows if asked.items() <= row.items()]
    dense = min((row["value"] for row in timed if row["kind"] == "dense"), default=None)
    alike = {"kind": "sparse", "block": block, "sparsity": 0.9}
    fastest = min(
        (row for row in timed if alike.items() <= row.items()), key=lambda row: row["value"], default=None
    )
    if dense is None or fastest is None:
        return ["not measured", ""]
    return [fastest["method"], f"{dense / fastest['value']:.2f}×"]


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} M"


def _written(errors: Mapping[str, float]) -> str:
    if "perplexity" in errors:
        return f"perplexity {errors['perplexity']:.2f}"
    return f"{100 * errors['wer']:.2f} % WER, {100 * errors['cer']:.2f} % CER"
