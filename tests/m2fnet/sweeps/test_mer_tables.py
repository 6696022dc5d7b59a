"""The rows of an ablation of attention fusion: settings that it has, and each stream is missing once."""

import inspect
import json
from typing import get_args

import pytest

from dialog.models.attention_fusion import AttentionFusion, FusionWeights
from dialog.task import DialogueTask
from m2fnet.sweeps.mer_tables import ATTENTION_FUSION, mer_tables


def test_every_row_is_a_setting_of_the_network_or_the_task():
    assert f"{AttentionFusion.__module__}.{AttentionFusion.__qualname__}" == ATTENTION_FUSION
    streams, dropout, weights = mer_tables(["text", "audio", "clip"])[0].parts
    assert streams.key == "data.streams"
    assert dropout.key.removeprefix("model.") in inspect.signature(DialogueTask).parameters
    assert weights.key.rpartition(".")[2] in inspect.signature(AttentionFusion).parameters
    assert weights.rows[0].value in get_args(FusionWeights)


@pytest.mark.parametrize("streams", [["text"], ["text", "audio", "clip"]])
def test_each_stream_is_missing_once(streams):
    rows = mer_tables(streams)[0].parts[0].rows
    assert json.loads(rows[0].value) == streams
    missing = [next(iter(set(streams) - set(json.loads(row.value)))) for row in rows[1:]]
    assert missing == (streams if len(streams) > 1 else [])
    assert [row.name for row in rows[1:]] == [f"without {name}" for name in missing]
