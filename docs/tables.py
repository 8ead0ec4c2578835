"""Puts the tables of results/<name>/result.json into README.md and the pages of docs/.

A page says where: everything between `<!-- results:<name> -->` and `<!-- /results:<name> -->` is replaced.
Of a large result it may ask for a part: `<!-- results:<name> goals -->`, or the rows whose metric begins in
some way: `<!-- results:<name> <metric>… -->`.
`python docs/tables.py` rewrites the pages, `--check` only says whether they are up to date.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import ROOT, publish

MARKED = re.compile(
    r"(<!-- results:(?P<name>[\w.-]+)(?: (?P<part>[\w.-]+…?))? -->\n)(.*?)(<!-- /results:(?P=name) -->)",
    re.DOTALL,
)
MISSING = "*Not measured yet: `make results` does it.*\n"
METRICS = {"wer": "WER", "cer": "CER", "rtf": "real-time factor", "bytes": "bytes"}

Cell = Callable[[Any], str]


def plain(value: Any) -> str:
    """A number to four significant digits, large ones with separators; other values as they are."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.4g}"


def percent(value: Any) -> str:
    """A share of one as a percentage, or one share for each layer type."""
    if isinstance(value, Mapping):
        return ", ".join(f"{kind} {percent(share)}" for kind, share in value.items())
    return f"{100 * value:.3g} %" if isinstance(value, int | float) else ""


def millions(value: Any) -> str:
    """A count in millions."""
    return f"{value / 1e6:.3g} M" if isinstance(value, int | float) else ""


LABELS: dict[str, tuple[str, Cell]] = {
    "method": ("Method", plain),
    "set": ("Set", plain),
    "level": ("Level", plain),
    "sparsity": ("Sparsity", percent),
    "parameters": ("Parameters", millions),
    "bytes": ("Bytes", plain),
}


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are flush right."""
    rule = [":--"] + ["--:"] * (len(header) - 1)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [header, rule, *lines])


def measurement(row: Mapping[str, Any]) -> str:
    """The value of a row, with its spread over seeds and its unit where it states them."""
    spread = f" ± {plain(row['spread'])}" if row.get("spread") is not None else ""
    unit = f" {row['unit']}" if row.get("unit") else ""
    return f"{plain(row['value'])}{spread}{unit}"


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each method, set and level; one column for each metric, the published figure beside it."""
    labels = [key for key in LABELS if any(row.get(key) is not None for row in rows)]
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    columns = [(m, "value") for m in metrics]
    columns += [
        (m, "published") for m in metrics if any(r["metric"] == m and r.get("published") for r in rows)
    ]
    lines: dict[tuple[Any, ...], dict[tuple[str, str], str]] = {}
    for row in rows:
        cells = lines.setdefault(tuple(LABELS[key][1](row.get(key)) for key in labels), {})
        cells[row["metric"], "value"] = measurement(row)
        cells[row["metric"], "published"] = plain(row.get("published"))
    titles = [METRICS.get(m, m) + ("" if kind == "value" else ", published") for m, kind in columns]
    header = [LABELS[key][0] for key in labels] + titles
    return table(header, [[*names, *(cells.get(c, "") for c in columns)] for names, cells in lines.items()])


def goals_table(goals: Sequence[Mapping[str, Any]]) -> str:
    """One line for each goal: what was required, what was measured, whether that is enough, and why not."""
    sign = {"higher": "≥", "lower": "≤"}
    return table(
        ["Goal", "Required", "Measured", "Met"],
        [
            [
                f"`{goal['name']}`",
                f"{sign[goal['better']]} {plain(goal['required'])}",
                plain(goal["measured"]),
                "yes" if goal["met"] else f"no: {goal.get('why', 'see the result file')}",
            ]
            for goal in goals
        ],
    )


def section(result: Mapping[str, Any], part: str | None = None) -> str:
    """What stands between the markers for one result file: rows, goals, and where they come from.

    part: None for all, `goals`, or the beginning of a metric, with an ellipsis.
    """
    rows = [row for row in result["rows"] if part is None or row["metric"].startswith(part.rstrip("…"))]
    parts = [rows_table(rows)] if rows and part != "goals" else []
    parts += [goals_table(result["goals"])] if result["goals"] and part in (None, "goals") else []
    commit = f" at commit `{str(result['commit'])[:10]}`" if result.get("commit") else ""
    parts.append(f"Measured by `{result['command']}`{commit}; machine: {machine(result['machine'])}.\n")
    return "\n".join(parts)


def machine(described: Any) -> str:
    """The machine of a result file in one line, whether it is a sentence or a mapping."""
    if isinstance(described, Mapping):
        return ", ".join(f"{key} {value}" for key, value in described.items())
    return str(described)


def filled(text: str, results: Path) -> str:
    """`text` with everything between result markers replaced by what the result files say now."""

    def fill(match: re.Match[str]) -> str:
        path = results / match["name"] / "result.json"
        body = section(json.loads(path.read_text("utf-8")), match["part"]) if path.exists() else MISSING
        return f"{match[1]}\n{body}\n{match[5]}"

    return MARKED.sub(fill, text)


def marked_pages() -> list[Path]:
    """The README and every page of the documentation, sorted."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> int:
    """Writes or checks every page that has markers."""
    texts = {path: path.read_text("utf-8") for path in marked_pages()}
    pages = {path: filled(text, ROOT / "results") for path, text in texts.items() if MARKED.search(text)}
    return publish(pages, "docs/tables.py")


if __name__ == "__main__":
    sys.exit(main())
