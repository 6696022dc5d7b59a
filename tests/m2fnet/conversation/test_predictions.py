"""Predictions as a sequence, as a table, and as what a notebook shows."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from m2fnet.conversation.predictions import Predictions
from m2fnet.conversation.writing import write_csv
from m2fnet.records import Prediction

HOSTILE = "<script>alert(1)</script> &amp; $\\href{javascript:alert(2)}{x}$"
FIRST = Prediction(0.0, 1.25, "Ann", "Well.", "joy", {"joy": 0.75, "anger": 0.25}, ("text",), {"visual": "no face"})
SECOND = Prediction(None, None, None, None, "anger", {"joy": 0.1, "anger": 0.9}, ("audio",))
TWO = Predictions([FIRST, SECOND])


def test_they_are_a_sequence_whose_parts_are_predictions_again():
    assert len(TWO) == 2
    assert list(TWO) == [FIRST, SECOND]
    assert TWO[-1] is SECOND
    assert TWO == (FIRST, SECOND)
    assert isinstance(TWO[:1], Predictions)
    assert TWO[1:] == (SECOND,)


def test_they_are_shown_on_one_line():
    assert repr(TWO) == "Predictions(2 utterances: joy 1, anger 1)"
    assert repr(Predictions()) == "Predictions(0 utterances: none)"


def test_the_table_has_a_row_per_utterance_and_a_column_per_emotion():
    table = TWO.to_pandas()
    assert table.p_joy.tolist() == [0.75, 0.1]
    assert table.confidence.tolist() == [0.75, 0.9]
    assert table.start_s[0] == 0.0
    assert math.isnan(table.start_s[1])
    assert table.loc[0, ["speaker", "text", "emotion", "modalities"]].tolist() == ["Ann", "Well.", "joy", "text"]
    assert table.loc[1, ["speaker", "text", "missing_visual"]].tolist() == [None, None, None]
    assert table.missing_visual[0] == "no face"


@pytest.mark.parametrize("predictions", [TWO, Predictions()])
def test_the_table_has_the_columns_of_the_file(predictions, tmp_path):
    write_csv(predictions, tmp_path / "p.csv")
    assert list(pd.read_csv(tmp_path / "p.csv").columns) == list(predictions.to_pandas().columns)


def test_a_stream_with_another_name_has_its_column():
    table = Predictions([Prediction(0, 1, None, None, "joy", {"joy": 1.0}, ("clip",), {"emo": "no face"})]).to_pandas()
    assert list(table.filter(like="missing_").columns)[-2:] == ["missing_clip", "missing_emo"]


def test_a_notebook_shows_a_table_in_which_no_markup_is_obeyed():
    shown = Predictions([Prediction(0, 1, HOSTILE, HOSTILE, "<b>", {"<b>": 1.0}, ("text",))])._repr_html_()
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp; $") == 2
    assert "<script" not in shown
    assert "<b>" not in shown
    assert "mathjax_ignore" in shown
    assert "None" not in shown
    assert "missing_" not in shown


def test_a_notebook_shows_the_timeline_above_the_table():
    shown = Predictions([FIRST])._repr_html_()
    assert 0 < shown.find('<img alt="The emotion of each utterance') + 1 < shown.find("<table")
    assert "<img" not in Predictions([replace(FIRST, start_s=None, end_s=None)])._repr_html_()


def test_a_notebook_shows_a_long_conversation_shortened():
    shown = Predictions([FIRST] * 10_000)._repr_html_()
    assert shown.count("<tr") < 70
    assert "10000 rows" in shown
