"""Predictions as JSONL, CSV and SRT: read back whole, harmless to spreadsheets, players and browsers."""

import csv
import json
from dataclasses import asdict

import pytest

from m2fnet.conversation.segments import MAX_SEGMENTS, read_segments
from m2fnet.conversation.writing import load, write_csv, write_jsonl, write_srt
from m2fnet.errors import ConversationError
from m2fnet.records import Prediction, SeenFrame

HOSTILE = "<script>alert(1)</script> {\\an8} --> 00:00:09,000"
SEGMENTS = (
    Prediction(
        0.0,
        1.25,
        "Ann",
        "Well, no.",
        "joy",
        {"joy": 0.87, "anger": 0.13},
        ("text", "audio"),
        {"visual": "no face"},
        (SeenFrame(0.25), SeenFrame(0.75, ((0.1, 0.0, 0.5, 1.0), (0.6, 0.2, 0.7, 0.3)))),
    ),
    Prediction(3601.0015, 3602.5, None, None, "anger", {"joy": 0.1, "anger": 0.9}, ("audio",)),
    Prediction(3603.0, 3604.0, "=cmd()", HOSTILE, "joy", {"joy": 1.0, "anger": 0.0}, ("text",)),
)
TIMELESS = (Prediction(None, None, "Ann", "Hi\u2028", "joy", {"joy": 2 / 3, "anger": 1 / 3}, ("text",)),)


GUESSED = (
    Prediction(
        0.0, 1.0, "speaker 1", "Hi", "joy", {"joy": 1.0, "anger": 0.0}, ("text",), text_source="w", speaker_source="v"
    ),
    Prediction(1.0, 2.0, None, None, "joy", {"joy": 1.0, "anger": 0.0}, ("audio",)),
)


@pytest.mark.parametrize("predictions", [SEGMENTS, TIMELESS, GUESSED, ()])
def test_jsonl_gives_the_same_predictions_back(tmp_path, predictions):
    write_jsonl(predictions, tmp_path / "p.jsonl")
    assert load(tmp_path / "p.jsonl") == predictions


def test_probabilities_keep_the_order_of_the_classes(tmp_path):
    write_jsonl(SEGMENTS, tmp_path / "p.jsonl")
    assert [list(p.probabilities) for p in load(tmp_path / "p.jsonl")] == [["joy", "anger"]] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_s": "0"}, "the field 'start_s' is '0'"),
        ({"start_s": None}, "the field 'end_s' is 1.25"),
        ({"end_s": 10**400}, "the field 'end_s' is 1000"),
        ({"speaker": 3}, "the field 'speaker' is 3"),
        ({"text": ["a"]}, "the field 'text' is ['a']"),
        ({"emotion": "fear"}, "the field 'emotion' is 'fear'"),
        ({"emotion": []}, "the field 'emotion' is []"),
        ({"probabilities": {"joy": 0.2, "anger": 0.2}}, "the field 'probabilities' is"),
        ({"probabilities": {"joy": True, "anger": 0.0}}, "the field 'probabilities' is"),
        ({"probabilities": {"joy": float("nan"), "anger": 0.5}}, "the field 'probabilities' is"),
        ({"probabilities": [1.0]}, "the field 'probabilities' is"),
        ({"modalities": ["smell"]}, "the field 'modalities' is ['smell']"),
        ({"modalities": [[]]}, "the field 'modalities' is [[]]"),
        ({"missing": {"smell": "none"}}, "the field 'missing' is"),
        ({"missing": {"text": None}}, "the field 'missing' is"),
        ({"frames": None}, "the field 'frames' is None"),
        ({"frames": [{"time_s": 1.0}]}, "the field 'frames' is"),
        ({"frames": [{"time_s": "1", "faces": []}]}, "the field 'frames' is"),
        ({"frames": [{"time_s": 1.0, "faces": [[0, 0, 1]]}]}, "the field 'frames' is"),
        ({"frames": [{"time_s": 1.0, "faces": [[0, 0, 1, 1.5]]}]}, "the field 'frames' is"),
        ({"frames": [{"time_s": 1.0, "faces": [[0.5, 0, 0.5, 1]]}]}, "the field 'frames' is"),
        ({"text_source": 3}, "the field 'text_source' is 3"),
        ({"surplus": 1}, "'surplus' is unknown"),
    ],
)
def test_what_is_no_prediction_is_refused_with_its_line(tmp_path, change, message):
    rows = [asdict(SEGMENTS[0]), {**asdict(SEGMENTS[0]), **change}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(ConversationError) as caught:
        load(tmp_path / "p.jsonl")
    assert f"p.jsonl:2 is not a prediction: {message}" in str(caught.value)
    assert "Make it again with `m2fnet predict`." in str(caught.value)


def test_a_missing_field_is_refused(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"start_s": 0}\n', encoding="utf-8")
    with pytest.raises(ConversationError, match=r"p\.jsonl:1 is not a prediction"):
        load(tmp_path / "p.jsonl")


def test_csv_holds_everything_and_is_harmless_to_spreadsheets(tmp_path):
    write_csv(SEGMENTS, tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        first, second, third = csv.DictReader(file)
    assert first == {
        "start_s": "0.000",
        "end_s": "1.250",
        "speaker": "Ann",
        "text": "Well, no.",
        "emotion": "joy",
        "confidence": "0.8700",
        "p_joy": "0.8700",
        "p_anger": "0.1300",
        "modalities": "text+audio",
        "missing_text": "",
        "missing_audio": "",
        "missing_visual": "no face",
    }
    assert (second["speaker"], second["text"], third["speaker"]) == ("", "", "'=cmd()")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", " \t=1", "\x07=1"])
def test_no_cell_begins_as_a_formula(tmp_path, text):
    write_csv([Prediction(0, 1, text, text, "joy", {"joy": 1.0, "anger": 0.0}, ("text",))], tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["text"].startswith("'")
    assert row["speaker"].startswith("'")


@pytest.mark.parametrize("predictions", [SEGMENTS, TIMELESS])
def test_csv_can_be_read_as_segments_again(tmp_path, predictions):
    write_csv(predictions, tmp_path / "p.csv")
    for segment, prediction in zip(read_segments(tmp_path / "p.csv"), predictions, strict=True):
        assert segment.text == (prediction.text.strip() if prediction.text else None)
        if prediction.start_s is not None:
            assert (segment.start_s, segment.end_s) == pytest.approx((prediction.start_s, prediction.end_s), abs=1e-3)


def test_srt(tmp_path):
    write_srt(SEGMENTS, tmp_path / "p.srt")
    assert (tmp_path / "p.srt").read_text(encoding="utf-8") == (
        "1\n00:00:00,000 --> 00:00:01,250\n[joy 87 %] Ann: Well, no.\n\n"
        "2\n01:00:01,002 --> 01:00:02,500\n[anger 90 %]\n\n"
        "3\n01:00:03,000 --> 01:00:04,000\n"
        "[joy 100 %] =cmd(): ‹script›alert(1)‹/script› (\\an8) --› 00:00:09,000\n"
    )


def test_srt_is_never_read_as_what_was_said(tmp_path):
    write_srt(SEGMENTS, tmp_path / "p.srt")
    with pytest.raises(
        ConversationError, match=r"p\.srt holds predictions of m2fnet\. Expected what they were made from"
    ):
        read_segments(tmp_path / "p.srt")


def test_subtitles_need_times(tmp_path):
    with pytest.raises(ConversationError, match="Utterance 1 has no times, but subtitles need them"):
        write_srt(TIMELESS, tmp_path / "p.srt")
    assert not (tmp_path / "p.srt").exists()


def test_as_many_utterances_as_are_allowed(tmp_path):
    many = [
        Prediction(n, n + 1, "Ann", "Hi", "joy", {"joy": 1.0, "anger": 0.0}, ("text",)) for n in range(MAX_SEGMENTS)
    ]
    for write in (write_jsonl, write_csv, write_srt):
        write(many, tmp_path / "p")
        assert (tmp_path / "p").read_text(encoding="utf-8").count("Hi") == MAX_SEGMENTS
    write_jsonl(many, tmp_path / "p")
    assert len(load(tmp_path / "p")) == MAX_SEGMENTS
