"""One HTML page that needs no other file."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from sparrot.report.drawing import Cell, Picture
from sparrot.report.tables import Table

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 82rem; margin: 2rem auto; padding: 0 1rem; }
p, figcaption { max-width: 60rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 3rem; border-bottom: 1px solid #8888; }
figure { margin: 2rem 0; } figure img { max-width: 100%; background: white; }
figcaption, .caption { font-size: 0.9rem; opacity: 0.85; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
.published { background: #8881; } .edge { border-right: 2px solid #8888; }
nav li { display: inline; margin-right: 1rem; } nav ul { padding: 0; }
"""


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    title: str
    parts: Sequence[Picture | Table]


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The page. Pictures are inside it, each with its title as alternative text."""
    body = "".join(_section(section) for section in sections)
    links = "".join(f'<li><a href="#{_anchor(s)}">{escape(s.title)}</a></li>' for s in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<p>{escape(introduction)}</p>\n"
        f"<nav><ul>{links}</ul></nav>\n{body}</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    parts = "".join(_picture(part) if isinstance(part, Picture) else _table(part) for part in section.parts)
    return f'<h2 id="{_anchor(section)}">{escape(section.title)}</h2>\n{parts}'


def _anchor(section: Section) -> str:
    return escape("-".join(section.title.lower().split()), quote=True)


def _picture(picture: Picture) -> str:
    encoded = base64.b64encode(picture.png).decode()
    return (
        f'<figure id="{picture.name}"><img alt="{escape(picture.title, quote=True)}" '
        f'src="data:image/png;base64,{encoded}">\n<figcaption><b>{escape(picture.title)}.</b> '
        f"{escape(picture.caption)}</figcaption></figure>\n"
    )


def _table(table: Table) -> str:
    head = "".join(_cells(table, "th", table.header))
    rows = "".join(f"<tr>{''.join(_cells(table, 'td', row))}</tr>\n" for row in table.rows)
    return (
        f'<h3 id="{table.name}">{escape(table.title)}</h3>\n'
        f'<p class="caption">{escape(table.caption)}</p>\n'
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _cells(table: Table, tag: str, row: Sequence[Cell]) -> Iterator[str]:
    for n, cell in enumerate(row):
        kind = "published" if n < table.n_published else ""
        kind += " edge" if n == table.n_published - 1 else ""
        attribute = f' class="{kind}"' if kind else ""
        yield f"<{tag}{attribute}>{escape('' if cell is None else str(cell))}</{tag}>"
