"""Tables of cells that may come from anywhere: none leaves its place, holds markup or moves a terminal's cursor."""

import re

import pandas as pd
import pytest

from m2fnet.formatting import bounds, cells, escaped, markdown_table, spread, terminal_table

HOSTILE = ["a | b", "<script>", "`code`", "[text](http://x)", "red\x1b[31m", "two\nlines", "back\\slash", "\u202eevil"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_or_a_header_stays_in_its_place(text):
    lines = markdown_table(pd.DataFrame({text: [text], "n": [1]}))
    assert len(lines) == 3
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)
    assert not re.search(r"(?<!\\)[<`]|(?<!\\)\]\(|[\x00-\x1f\u202e]", "".join(lines))
    assert escaped(text) in lines[2]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_gets_no_control_characters(text):
    printed = terminal_table(pd.DataFrame({text: [text], "n": [1]}))
    header, row = printed.split("\n")
    assert header.endswith("n")
    assert row.endswith("1")
    assert len(header) == len(row)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", printed)


def test_what_is_missing_is_a_dash_and_whole_numbers_stay_whole():
    frame = pd.DataFrame({"name": ["a", None], "n": pd.array([3, None], dtype="Int64"), "before": [["x"], []]})
    assert cells(frame) == [["a", "3", "['x']"], ["–", "–", "[]"]]
    nothing = float("nan")
    assert spread({"value": 0.5, "sd": nothing}) == "50.00"
    assert bounds({"low": nothing, "high": nothing}) == "–"


def test_a_table_without_rows_has_its_header():
    empty = pd.DataFrame(columns=["a", "b"])
    assert markdown_table(empty) == ["| a | b |", "|---|---|"]
    assert terminal_table(empty) == "a  b"


def test_columns_of_one_name_are_all_shown():
    frame = pd.DataFrame([["1", "2"]], columns=["median", "median"])
    assert markdown_table(frame)[2] == "| 1 | 2 |"
