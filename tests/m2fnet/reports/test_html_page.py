"""`report.html` in a real browser: it shows all its pictures, from a file, and asks for nothing else."""

import re

import pytest
from made_runs import made_manifest, made_run

from m2fnet.cli import DONE, run

HOSTILE = "<img src=x onerror=alert(1)>"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of two settings of a corpus with a hostile name; their timelines are drawn, their logs are missing."""
    folder = tmp_path_factory.mktemp("report")
    manifest = made_manifest(folder / "data", name=HOSTILE)
    runs = [made_run(folder / f"{n}/seed-0", manifest, folder / "data", width=n) for n in (4, 8)]
    assert run(["report", "--plots", *map(str, runs), "--out", str(folder / "out")]) == DONE
    return folder / "out" / "report.html"


def test_the_report_opens_offline_with_every_picture_and_without_a_request(report, visit, tmp_path):
    visited = visit(report.as_uri())
    page = visited.page
    widths = page.eval_on_selector_all("img", "all => all.map(image => image.complete ? image.naturalWidth : 0)")
    assert len(widths) == len(list((report.parent / "plots").glob("*.svg"))) >= 8
    assert all(width > 300 for width in widths), widths
    assert page.locator("h1").inner_text().startswith(HOSTILE)
    titles = page.locator("section h2").all_inner_texts()
    assert titles.index("Differences, in points") < titles.index("F1 of each emotion on test")
    assert titles[-1] == "Not drawn"
    assert visited.requests[0] == report.as_uri()
    assert visited.outside() == [report.as_uri()]
    assert visited.complaints == []
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert (tmp_path / "report.png").stat().st_size > 50_000


def test_a_wide_table_scrolls_by_itself_and_leaves_the_page_in_its_width(report, visit, tmp_path):
    wide = tmp_path / "wide.html"
    text = report.read_text(encoding="utf-8")
    wide.write_text(text.replace("<td>", f"<td>{'a_long_name' * 20}", 3), encoding="utf-8")
    page = visit(wide.as_uri()).page
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate("[...document.querySelectorAll('.wide')].some(box => box.scrollWidth > box.clientWidth)")


def test_the_links_of_the_report_lead_to_its_pictures_and_tables(report, visit):
    page = visit(report.as_uri()).page
    names = page.eval_on_selector_all("nav a", "all => all.map(link => link.hash.slice(1))")
    assert names
    for name in names:
        page.locator(f'nav a[href="#{name}"]').click()
        assert page.locator(f"section#{name} :is(img, table)").first.is_visible()
        top = page.locator(f"section#{name}").evaluate("section => section.getBoundingClientRect().top")
        assert -5 <= top < 800


def test_every_picture_opens_as_a_file(report, visit):
    page = visit(report.as_uri()).page
    files = page.eval_on_selector_all("figure a", "all => all.map(link => link.getAttribute('href'))")
    assert {file for file in files if not (report.parent / file).is_file()} == set()
    assert len(files) == 3 * page.locator("figure").count()  # the picture itself, svg, png
    page.locator("figure img").first.click()
    assert page.url.endswith("/plots/classes.svg")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes_and_pictures_keep_a_white_ground(report, visit, scheme):
    page = visit(report.as_uri()).page
    page.emulate_media(color_scheme=scheme)
    look = "element => getComputedStyle(element)"
    ink = page.locator("body").evaluate(f"{look}.color")
    ground = page.locator("body").evaluate(f"{look}.backgroundColor")
    assert (lightness(ink) < lightness(ground)) == (scheme == "light")
    assert abs(lightness(ink) - lightness(ground)) > 0.6
    link = page.locator("nav a").first.evaluate(f"{look}.color")
    assert abs(lightness(link) - lightness(ground)) > 0.4
    assert page.locator("figure img").first.evaluate(f"{look}.backgroundColor") == "rgb(255, 255, 255)"


def lightness(colour):
    red, green, blue = (int(value) / 255 for value in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_policy_of_the_report_stops_a_script_that_an_escape_forgot(report, visit, tmp_path):
    spoiled = tmp_path / "spoiled.html"
    text = report.read_text(encoding="utf-8")
    spoiled.write_text(text.replace("</body>", "<script>document.title = 'ran'</script></body>"), encoding="utf-8")
    visited = visit(spoiled.as_uri())
    assert visited.page.title() != "ran"
    assert any("Content Security Policy" in line for line in visited.complaints)
