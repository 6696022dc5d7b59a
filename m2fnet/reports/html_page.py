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
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; font-size: 0.9rem; }}
td, th {{ border: 1px solid #bbb; padding: .3rem .7rem; text-align: left; white-space: nowrap; }}
th {{ background: #f3f3f3; }}
p, figcaption, li {{ max-width: 50rem; }}
figure {{ margin: 0; }}
img {{ max-width: 100%; height: auto; }}
section {{ margin-top: 2.5rem; }}
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
    """The page: the first table, a list of links, every picture with its caption, the other tables, what is not drawn.

    Args:
        title: of the page; any text in it and in what follows may come from strangers.
        tables: of the printed page.
        drawn: in their order.
        images: name of a picture -> its svg file.
    """
    shown = [picture for picture in drawn if isinstance(picture, Picture)]
    missing = [picture for picture in drawn if isinstance(picture, NotDrawn)]
    lines = [_HEAD.format(title=_text(title)), f"<body>\n<h1>{_text(title)}</h1>"]
    for section in tables[:1]:
        lines += [_table(section.table), *(f"<p>{_text(note)}</p>" for note in section.notes)]
    links = [(picture.name, picture.title) for picture in shown]
    links += [(f"table-{number}", section.title) for number, section in enumerate(tables[1:], start=1)]
    lines += ["<nav><ul>", *(f'<li><a href="#{name}">{_text(what)}</a></li>' for name, what in links), "</ul></nav>"]
    for picture in shown:
        # an image runs no script and loads nothing, which an svg written into the page could
        source = f"data:image/svg+xml;base64,{base64.b64encode(images[picture.name]).decode('ascii')}"
        lines += [
            f'<section id="{picture.name}"><h2>{_text(picture.title)}</h2>',
            f'<figure><img alt="{_text(picture.title)}" src="{source}">',
            f"<figcaption>{_text(picture.caption)} Files: {FOLDER}/{picture.name}.svg, .png.</figcaption></figure>",
            "</section>",
        ]
    for number, section in enumerate(tables[1:], start=1):
        lines += [f'<section id="table-{number}"><h2>{_text(section.title)}</h2>', _table(section.table)]
        lines += [*(f"<p>{_text(note)}</p>" for note in section.notes), "</section>"]
    if missing:
        reasons = [f"<li>{_text(picture.title)}: {_text(picture.reason)}</li>" for picture in missing]
        lines += ["<section><h2>Not drawn</h2><ul>", *reasons, "</ul></section>"]
    return "\n".join([*lines, "</body>\n</html>\n"])


def _table(frame: pd.DataFrame) -> str:
    header = "".join(f"<th>{_text(str(name))}</th>" for name in frame.columns)
    rows = ["".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in cells(frame)]
    return "\n".join(["<table>", *(f"<tr>{row}</tr>" for row in (header, *rows)), "</table>"])


def _cell(text: str) -> str:
    bold = BOLD.fullmatch(text)
    return f"<strong>{_text(bold[1])}</strong>" if bold else _text(text)


def _text(text: str) -> str:
    return escape(plain(text))
