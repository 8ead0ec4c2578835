"""Figure 2 and table 6 of "Block-sparse recurrent neural networks", out of a result of kernels.py.

    python benchmarks/products/drawing.py results/kernels

It reads result.json in that folder and writes speedup.png, speedup.csv and storage.csv beside it.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparrot.atomic import atomic_write
from sparrot.report.drawing import styles

Row = Mapping[str, Any]
BLOCKS = ("1×1", "4×4", "16×16", "32×32", "16×1")
STORAGE = {
    "set": "matrix",
    "level": "sparsity",
    "method": "method",
    "type": "type",
    "kernels.bytes.values": "bytes of values",
    "kernels.bytes.indices": "bytes of indices",
    "kernels.bytes.total": "bytes",
    "kernels.bytes.saving": "saving over dense float32",
    "kernels.bytes.overhead": "indices, % of values",
}


def main() -> None:
    """Draws what the result has rows for."""
    folder = Path(sys.argv[1])
    rows = json.loads((folder / "result.json").read_text(encoding="utf-8"))["rows"]
    points = list(speed_ups([row for row in rows if row.get("contest") == "figure"]))
    if points:
        write_csv(points, folder / "speedup.csv")
        draw(points, folder / "speedup.png")
    stored = list(storage([row for row in rows if row["metric"].startswith("kernels.bytes.")]))
    if stored:
        write_csv(stored, folder / "storage.csv")


def speed_ups(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Matrix, batch, block and method, with its speed-up over the best dense float32 of the same race."""
    for shape in dict.fromkeys(row["shape"] for row in rows):
        for batch in dict.fromkeys(row["batch"] for row in rows if row["shape"] == shape):
            raced = [row for row in rows if (row["shape"], row["batch"]) == (shape, batch)]
            dense = min((row for row in raced if row["kind"] == "dense"), key=lambda row: row["value"])
            for row in raced:
                if row["kind"] == "sparse":
                    yield {
                        "matrix": shape,
                        "sparsity": row["sparsity"],
                        "batch": batch,
                        "block": row["block"],
                        "method": row["method"],
                        "µs": round(row["value"], 2),
                        "dense µs": round(dense["value"], 2),
                        "dense": dense["method"],
                        "speed-up": round(dense["value"] / row["value"], 2),
                    }


def storage(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """One line a matrix, method and type, with its bytes and the published figures."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("set", "level", "method", "type"))
        line = lines.setdefault(key, dict(zip(list(STORAGE.values())[:4], key, strict=True)))
        line[STORAGE[row["metric"]]] = round(row["value"], 3)
        if row["metric"] in ("kernels.bytes.saving", "kernels.bytes.overhead"):
            line[f"published {row['metric'].rpartition('.')[2]}"] = row["published"] or ""
    yield from lines.values()


def write_csv(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes lines that all have the same columns."""
    with atomic_write(path) as file:
        header = list(lines[0])
        text = [header, *([line[name] for name in header] for line in lines)]
        for cells in text:
            file.write((",".join(map(_quoted, cells)) + "\n").encode())


def _quoted(cell: Any) -> str:
    text = str(cell)
    return f'"{text}"' if "," in text else text


def draw(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Speed-up against batch size: ours by block, and the best rival in blocks of any shape, dashed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shapes = list(dict.fromkeys(point["matrix"] for point in points))
    figure, panels = pyplot.subplots(1, len(shapes), figsize=(10, 4.5), dpi=100, sharey=True, squeeze=False)
    for axes, shape in zip(panels[0], shapes, strict=True):
        of_shape = [point for point in points if point["matrix"] == shape]
        for (block, line), (colour, marker) in zip(_lines(of_shape).items(), styles(), strict=False):
            style = "--" if block.startswith("MKL") else "-"
            axes.plot(list(line), list(line.values()), style, color=colour, marker=marker, label=block)
        axes.axhline(1, color="black", linewidth=0.8)
        batches = sorted({point["batch"] for point in of_shape})
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(title=f"{shape}, {100 * of_shape[0]['sparsity']:.0f} % sparse", xlabel="batch")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("speed-up over the best dense float32")
    panels[0][-1].legend(loc="best", fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _lines(points: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Batch → speed-up of each line."""
    lines: dict[str, dict[int, float]] = {f"sparrot, {block}": {} for block in BLOCKS}
    lines["MKL, best block"] = {}
    for point in points:
        is_own = point["method"].startswith("sparrot")
        line = lines[f"sparrot, {point['block']}" if is_own else "MKL, best block"]
        line[point["batch"]] = max(point["speed-up"], line.get(point["batch"], 0.0))
    return {name: dict(sorted(line.items())) for name, line in lines.items() if line}


if __name__ == "__main__":
    main()
