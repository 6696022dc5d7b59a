"""One page with all pictures inside: it opens offline, loads nothing and runs nothing."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from m2fnet.files import replaced, write_text
from m2fnet.formatting import BOLD, cells, plain
from m2fnet.plots.style import rendered
from m2fnet.reports.figures import NotDrawn, Picture
from m2fnet.reports.summary import Summary
from m2fnet.reports.summary_page import Section, heading, sections

PAGE, FOLDER = "report.html", "plots"

_STYLE = """\
:root { color-scheme: light dark; --ink: #222; --ground: #fff; --line: #bbb; --head: #f3f3f3; --link: #0a4fa3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --ground: #16181c; --line: #4a4f57; --head: #24282e; --link: #8ab8ff; }
  img { filter: brightness(.88); }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem; }
a { color: var(--link); }
h1, h2, li { overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; }
td, th { border: 1px solid var(--line); padding: .3rem .7rem; text-align: left; white-space: nowrap; }
th { background: var(--head); }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--ground); }
th:first-child { background: var(--head); }
p, figcaption, li { max-width: 50rem; }
nav ul { padding-left: 1.2rem; }
figure { margin: 0; }
img { max-width: 100%; height: auto; background: #fff; }
section { margin-top: 2.5rem; }
@media (max-width: 40rem) {
  td:first-child, th:first-child { white-space: normal; min-width: 6rem; max-width: 9rem; overflow-wrap: anywhere; }
}"""

# the policy holds even if an escape were forgotten: no script, and nothing from outside the file
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}
</style>
</head>
"""


def write_page(
    folder: Path, summary: Summary, drawn: Sequence[Picture | NotDrawn], *, selected_on_test: bool = False
) -> Path:
    """Write ``plots/*.svg``, ``plots/*.png`` and ``report.html`` into ``folder`` and return the page's path."""
    images = {}
    for picture in drawn:
        if isinstance(picture, Picture):
            images[picture.name] = rendered(picture.figure, "svg")
            for kind, content in (("svg", images[picture.name]), ("png", rendered(picture.figure, "png"))):
                with replaced(folder / FOLDER / f"{picture.name}.{kind}") as temporary:
                    temporary.write_bytes(content)
    page = as_html(heading(summary), sections(summary, selected_on_test=selected_on_test), drawn, images)
    write_text(folder / PAGE, page)
    return folder / PAGE


def as_html(
    title: str, tables: Sequence[Section], drawn: Sequence[Picture | NotDrawn], images: Mapping[str, bytes]
) -> str:
    """The page: all tables, the first before a list of links; every picture with its caption; what is not drawn.

    Args:
        title: of the page; any text in it and in what follows may come from strangers.
        tables: of the printed page.
        drawn: in their order.
        images: name of a picture -> its svg file.
    """
    shown = [picture for picture in drawn if isinstance(picture, Picture)]
    missing = [picture for picture in drawn if isinstance(picture, NotDrawn)]
    lines = [_HEAD.format(title=_text(title), style=_STYLE), f"<body>\n<h1>{_text(title)}</h1>"]
    for section in tables[:1]:
        lines += [_table(section.table), *(f"<p>{_text(note)}</p>" for note in section.notes)]
    links = [(f"table-{number}", section.title) for number, section in enumerate(tables[1:], start=1)]
    links += [(picture.name, picture.title) for picture in shown]
    lines += ["<nav><ul>", *_links(links), "</ul></nav>"]
    for number, section in enumerate(tables[1:], start=1):
        lines += [f'<section id="table-{number}"><h2>{_text(section.title)}</h2>', _table(section.table)]
        lines += [*(f"<p>{_text(note)}</p>" for note in section.notes), "</section>"]
    for picture in shown:
        # an image runs no script and loads nothing, which an svg written into the page could
        source = f"data:image/svg+xml;base64,{base64.b64encode(images[picture.name]).decode('ascii')}"
        file = f"{FOLDER}/{picture.name}"
        lines += [
            f'<section id="{picture.name}"><h2>{_text(picture.title)}</h2>',
            f'<figure><a href="{file}.svg"><img alt="{_text(picture.title)}" src="{source}"></a>',
            f'<figcaption>{_text(picture.caption)} Open it: <a href="{file}.svg">svg</a>, '
            f'<a href="{file}.png">png</a>.</figcaption></figure>',
            "</section>",
        ]
    if missing:
        reasons = [f"<li>{_text(picture.title)}: {_text(picture.reason)}</li>" for picture in missing]
        lines += ["<section><h2>Not drawn</h2><ul>", *reasons, "</ul></section>"]
    return "\n".join([*lines, "</body>\n</html>\n"])


def _links(links: Sequence[tuple[str, str]]) -> list[str]:
    """Items of a list: titles that differ only in what is after a colon, such as the setting, share one."""
    groups: dict[str, list[str]] = {}
    for name, title in links:
        what, colon, which = title.partition(": ")
        groups.setdefault(f"{what}{colon}", []).append(f'<a href="#{name}">{_text(which or what)}</a>')
    return [
        f"<li>{_text(what)}{', '.join(found)}</li>" if what.endswith(": ") else f"<li>{', '.join(found)}</li>"
        for what, found in groups.items()
    ]


def _table(frame: pd.DataFrame) -> str:
    header = "".join(f"<th>{_text(str(name))}</th>" for name in frame.columns)
    rows = ["".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in cells(frame)]
    lines = [f"<tr>{row}</tr>" for row in (header, *rows)]
    # whoever has no mouse scrolls it by the keyboard
    return "\n".join(['<div class="wide" tabindex="0"><table>', *lines, "</table></div>"])


def _cell(text: str) -> str:
    bold = BOLD.fullmatch(text)
    return f"<strong>{_text(bold[1])}</strong>" if bold else _text(text)


def _text(text: str) -> str:
    return escape(plain(text))
