"""How every picture of a report is drawn: 800 pixels wide, in colours that the colour-blind tell apart."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: distinct under every common colour deficiency.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LETTERS_A_ROW, _LETTERS_A_HANDLE = 100, 8  # of legends, at the size that they are drawn in
_INCHES_A_ROW = 0.22

Cell = str | float | int | None
Rows = Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Picture:
    """A drawing and the numbers in it.

    name:    of its files, without an ending.
    caption: what to look for; the papers' figure that it is shaped like.
    header, rows: what is drawn, as a table.
    """

    name: str
    title: str
    caption: str
    png: bytes
    header: Sequence[str]
    rows: Rows

    def csv(self) -> str:
        """Its numbers as comma-separated values."""
        return to_csv(self.header, self.rows)


def to_csv(header: Sequence[str], rows: Rows) -> str:
    """Comma-separated values (RFC 4180); nothing stands for None."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()


class Canvas:
    """A figure that is being drawn; `png` is there once the `with` block of `canvas` is left."""

    def __init__(self, figure: "Figure", axes: Any) -> None:
        self.figure, self.axes = figure, axes
        self.png = b""


@contextmanager
def canvas(height: float = 4.4, rows: int = 1, columns: int = 1, **shape: Any) -> Iterator[Canvas]:
    """A figure of 8 × `height` inches; its axes are one, or an array (rows, columns)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with mpl.rc_context({"font.size": 10.5, "axes.titlesize": 11.5, "axes.titlelocation": "left"}):
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(8, height), dpi=100, layout="constrained", **shape
        )
        drawn = Canvas(figure, axes)
        try:
            yield drawn
            file = io.BytesIO()
            figure.savefig(file, metadata={"Software": None})
            drawn.png = file.getvalue()
        finally:
            pyplot.close(figure)


def styles() -> Iterator[tuple[str, str]]:
    """Colours and markers, in pairs that take long to come again."""
    for n, colour in enumerate(cycle(COLOURS)):
        yield colour, MARKERS[(n + n // len(COLOURS)) % len(MARKERS)]


def legend_below(figure: "Figure", axes: "Axes") -> None:
    """A legend under the axes, where it hides nothing, in as many columns as fit side by side.

    The figure gets as much higher as the legend has rows, so that the axes keep their size.
    """
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    columns = max(1, min(len(labels), _LETTERS_A_ROW // (max(map(len, labels)) + _LETTERS_A_HANDLE)))
    n_rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + (n_rows - 1) * _INCHES_A_ROW)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
