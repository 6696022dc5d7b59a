"""The rows of an ablation and the paper's numbers for them."""

import json

import pytest

from m2fnet.records import MODALITIES
from m2fnet.sweeps.paper_tables import PAPER_CORPORA, depth_tables, fusion_table, modality_table, store_table, tables

HEADLINE = {"iemocap": (69.69, 69.86), "meld": (67.85, 66.71)}


def test_the_modality_table_has_the_papers_rows_each_once():
    table = modality_table(MODALITIES)
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names) == 8
    assert {"text", "text + audio, concat", "audio + visual, concat", "text + audio + visual, fusion"} <= set(names)
    assert all(set(row.paper) == {"iemocap", "meld"} for row in table.rows)
    by_name = {row.name: row.paper for row in table.rows}
    assert by_name["text + audio + visual, fusion"] == HEADLINE
    assert by_name["text + visual, concat"]["meld"] == (67.81, 66.35)


@pytest.mark.parametrize(
    ("modalities", "names"),
    [(["text"], ["text"]), (["audio", "visual"], ["audio", "visual", "audio + visual, concat"])],
)
def test_without_text_or_with_only_text_there_is_nothing_to_fuse(modalities, names):
    assert [row.name for row in modality_table(modalities).rows] == names
    assert [table.name for table in tables(modalities) if not table.rows] == ["fusion", "fusion_layers"]


def test_streams_of_any_name_are_combined_and_one_of_text_leads():
    streams = ["words", "clip"]
    (fused, plain) = fusion_table(streams, text=["words"]).parts
    assert [row.name for row in fused.rows] == ["words + clip, fusion"]
    assert plain.rows[0].paper == {}  # the paper has no such streams
    assert fusion_table(streams, text=[]).rows == []
    assert fusion_table(streams, text=streams).rows == []  # two could lead


def test_fused_and_concatenated_rows_are_in_pairs():
    fused, plain = fusion_table(MODALITIES).parts
    assert [row.value for row in fused.rows] == [row.value for row in plain.rows]
    assert fused.fixed != plain.fixed
    assert ["audio", "visual"] not in [json.loads(row.value) for row in fused.rows]


def test_the_depths_that_the_paper_chose_have_its_headline():
    encoders, fusion = depth_tables(MODALITIES)
    assert encoders.rows[0].paper["meld"] == HEADLINE["meld"]
    assert encoders.rows[4].paper["iemocap"] == HEADLINE["iemocap"]
    assert fusion.rows[4].paper == HEADLINE
    for table in (encoders, fusion):
        assert [row.value for row in table.rows] == list("123456")
        for corpus, best in HEADLINE.items():
            assert max(row.paper[corpus][1] for row in table.rows) == best[1]


def test_stores_are_compared_with_the_paper_by_their_names():
    table = store_table("visual", "Scene, face or both", "visual", {"scene": "a", "mine": "b"})
    assert [(row.name, row.value) for row in table.rows] == [("scene", "a"), ("mine", "b")]
    assert table.parts[0].key == "data.stores.visual"
    assert table.rows[0].paper["meld"] == (65.23, 64.23)
    assert table.rows[1].paper == {}


def test_only_scores_on_the_papers_test_sets_are_compared_with_it():
    assert PAPER_CORPORA == {("iemocap6", 1622): "iemocap", ("meld", 2610): "meld"}
