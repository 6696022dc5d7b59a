"""One page with all pictures inside: it opens offline, loads nothing and runs nothing."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from m2fnet.files import replaced, write_text
from m2fnet.formatting import bounds, plain, spread
from m2fnet.plots.style import rendered
from m2fnet.reports.figures import LeftOut, Picture
from m2fnet.reports.summary_page import how_drawn, what_differs

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
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
td, th {{ border: 1px solid #bbb; padding: .3rem .7rem; text-align: left; }}
figure {{ margin: 0; }}
figcaption {{ max-width: 50rem; }}
img {{ max-width: 100%; height: auto; }}
section {{ margin-top: 2.5rem; }}
</style>
</head>
"""


def write_page(folder: Path, summary: Mapping[str, Any], drawn: Sequence[Picture | LeftOut]) -> Path:
    """Write ``plots/*.svg``, ``plots/*.png`` and ``report.html`` into ``folder`` and return the page's path."""
    images = {}
    for picture in drawn:
        if isinstance(picture, Picture):
            images[picture.name] = rendered(picture.figure, "svg")
            _write(folder / FOLDER / f"{picture.name}.svg", images[picture.name])
            _write(folder / FOLDER / f"{picture.name}.png", rendered(picture.figure, "png"))
    write_text(folder / PAGE, as_html(summary, drawn, images))
    return folder / PAGE


def as_html(summary: Mapping[str, Any], drawn: Sequence[Picture | LeftOut], images: Mapping[str, bytes]) -> str:
    """The page: scores, a list of links, every picture with its caption, and what was left out and why.

    Args:
        summary: of `m2fnet.reports.summary.summarise_settings`.
        drawn: in their order; any text in them may come from strangers.
        images: name of a picture -> its svg file.
    """
    shown = [picture for picture in drawn if isinstance(picture, Picture)]
    title = f"{summary['corpus']}: {summary['turns']} test turns in {summary['dialogues']} dialogues"
    return "\n".join(
        [
            _HEAD.format(title=_text(title)),
            f"<body>\n<h1>{_text(title)}</h1>",
            *_scores(summary),
            "<nav><ul>",
            *(f'<li><a href="#{picture.name}">{_text(picture.title)}</a></li>' for picture in shown),
            "</ul></nav>",
            *(_section(picture, images[picture.name]) for picture in shown),
            *_left_out([picture for picture in drawn if isinstance(picture, LeftOut)]),
            "</body>\n</html>\n",
        ]
    )


def _scores(summary: Mapping[str, Any]) -> list[str]:
    """The head of the printed page; all other numbers stand there."""
    columns = ("weighted F1", "accuracy", "macro F1")
    header = ["setting", "modalities", "seeds", *(f"{name} (%), with interval" for name in columns)]
    keys = ("weighted_f1", "accuracy", "macro_f1")
    rows = [
        [
            row["setting"],
            " + ".join(row["modalities"]),
            ", ".join(map(str, row["seeds"])),
            *(_score(row[f"test.{key}"]) for key in keys),
        ]
        for row in summary["settings"]
    ]
    differs = what_differs(summary, {row["setting"]: row["setting"] for row in summary["settings"]})
    rows += [[f"always {row['class']}", "–", "–", *(_score(row[key]) for key in keys)] for row in summary["majority"]]
    return [
        *_table(header, rows),
        f"<p>{_text(how_drawn(summary))}</p>",
        *(_table(differs[0], differs[1:]) if differs else []),
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "<table>",
        f"<tr>{''.join(f'<th>{_text(cell)}</th>' for cell in header)}</tr>",
        *(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows),
        "</table>",
    ]


def _score(score: Mapping[str, float | None]) -> str:
    return spread(score) if score["low"] is None else f"{spread(score)} ({bounds(score)})"


def _section(picture: Picture, svg: bytes) -> str:
    # an image runs no script and loads nothing, which an svg written into the page could
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"
    title, caption = _text(picture.title), _text(picture.caption)
    return (
        f'<section id="{picture.name}"><h2>{title}</h2>\n<figure><img alt="{title}" src="{source}">\n'
        f"<figcaption>{caption} Files: {FOLDER}/{picture.name}.svg, .png.</figcaption></figure></section>"
    )


def _left_out(missing: Sequence[LeftOut]) -> list[str]:
    if not missing:
        return []
    rows = [f"<li>{_text(picture.title)}: {_text(picture.reason)}</li>" for picture in missing]
    return ["<section><h2>Not drawn</h2><ul>", *rows, "</ul></section>"]


def _text(text: str) -> str:
    return escape(plain(text))


def _write(path: Path, content: bytes) -> None:
    with replaced(path) as temporary:
        temporary.write_bytes(content)
