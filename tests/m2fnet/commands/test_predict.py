"""``m2fnet predict``: what it prints, writes, skips and refuses."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from made_up_model import SENTENCES, made_up_model, subtitles, talk, write_wav
from PIL import Image

from m2fnet import cli
from m2fnet.conversation.writing import load
from m2fnet.errors import PredictionError
from m2fnet.files import locked
from m2fnet.manifest import Manifest
from m2fnet.pipeline import Pipeline
from m2fnet.records import LabelSet, Utterance

FILES = {"predictions.jsonl", "predictions.csv", "predictions.srt", "timeline.svg", "timeline.png", "about.json"}


def test_a_clip_becomes_a_table_and_a_folder(predict, clip, tmp_path):
    code, out, err = predict(clip)
    folder = tmp_path / "predictions" / "talk.wav"
    assert (code, err) == (cli.DONE, "")
    assert {path.name for path in folder.iterdir()} == FILES
    found = load(folder / "predictions.jsonl")
    assert found == Pipeline(made_up_model())(clip)
    _, *lines = [line for line in out.splitlines() if line]  # the first is about calibration
    assert lines[0] == "talk.wav: 2 utterances, from talk.srt"
    for line, prediction, when in zip(lines[1:3], found, (" 0:00.0 –  0:02.0", " 0:02.0 –  0:04.0"), strict=True):
        assert when in line
        assert f"{prediction.emotion:<7} {100 * prediction.confidence:3.0f} %" in line
        assert prediction.text in line
    assert lines[3] == "Without visual in all utterances (there is no picture: 2)"
    assert lines[4].startswith("Written to predictions/talk.wav: predictions.jsonl, ")
    about = json.loads((folder / "about.json").read_text())
    assert (about["segments"], about["utterances"], about["skipped"]) == ("talk.srt", 2, [])
    assert about["missing"] == {"visual": {"there is no picture": 2}}


def test_probabilities_that_are_not_calibrated_are_reported_once(predict, tmp_path, monkeypatch):
    (tmp_path / "clips").mkdir()
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / "clips" / name, 1)
    assert (
        predict("clips")[1].count("The probabilities are not calibrated, because the run was not tested before.") == 1
    )
    tested = made_up_model()
    tested.config["temperature"] = 1.3
    monkeypatch.setattr("m2fnet.pipeline.pipeline.load_model", lambda place: tested)
    assert "not calibrated" not in predict("clips", "--out", "again")[1]


def test_causal_sees_no_later_utterance(predict, clip, tmp_path):
    predict(clip, "--causal", "--out", "past")
    found = load(tmp_path / "past" / "talk.wav" / "predictions.jsonl")
    assert found == Pipeline(made_up_model(), causal=True)(clip)
    assert found != Pipeline(made_up_model())(clip)


def test_the_table_is_as_wide_as_the_terminal(predict, clip, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    clip.with_suffix(".srt").write_text(f"1\n00:00:00,000 --> 00:00:02,000\nAnnabelle: {'so ' * 40}\n")
    (line,) = (line for line in predict(clip)[1].splitlines() if "so so" in line)
    assert 70 < len(line) <= 80


def test_segments_name_the_utterances(predict, clip, tmp_path):
    (tmp_path / "segments.csv").write_text(
        "start,end,speaker,text\n0,1,Ann,Hi\n1,2,Bob,Ho\n2,4,Ann,Ha\n", encoding="utf-8"
    )
    code, out, _ = predict(clip, "--segments", "segments.csv")
    assert code == cli.DONE
    assert "3 utterances, from segments.csv" in out
    assert "Ann" in out


@pytest.mark.parametrize("arguments", [["talk.txt"], ["--segments", "talk.txt"]])
def test_a_transcript_has_no_subtitles(predict, tmp_path, arguments):
    (tmp_path / "talk.txt").write_text("Ann: Hello!\nBob: You again.\n", encoding="utf-8")
    code, out, _ = predict(*arguments)
    assert code == cli.DONE
    assert "Without audio in all utterances (there is no sound: 2)" in out
    files = {path.name for path in (tmp_path / "predictions" / "talk.txt").iterdir()}
    assert files == FILES - {"predictions.srt"}


def test_cues_that_are_no_utterances_are_counted_and_the_first_named(predict, clip, tmp_path):
    with (tmp_path / "talk.srt").open("a", encoding="utf-8") as file:
        file.write("\n".join(f"\n{n}\n00:00:02,000 --> 00:00:01,000\nno\n" for n in range(4)))
    code, out, _ = predict(clip)
    skipped = "; ".join(f"{tmp_path}/talk.srt:{line} begins at 2 s and ends at 1 s" for line in (10, 15, 20))
    assert code == cli.DONE
    assert "talk.wav: 2 utterances" in out
    assert out.count(f"Skipped 4 cues, lines or sounds that are not utterances: {skipped}; …\n") == 1
    about = json.loads((tmp_path / "predictions" / "talk.wav" / "about.json").read_text())
    assert about["skipped"][:3] == skipped.split("; ")
    assert len(about["skipped"]) == 4


def test_utterances_without_any_modality_are_counted(predict, tmp_path):
    write_wav(tmp_path / "talk.wav", 2)
    (tmp_path / "talk.csv").write_text("start,end,text\n0,1,Hi\n1,2,\n", encoding="utf-8")
    _, out, _ = predict("talk.wav", "--segments", "talk.csv", model="reader")
    assert "Without text in 1 of 2 utterances (there is no transcript: 1)" in out
    assert "Without any modality in 1 utterance; their emotions come from the utterances around them only" in out


def test_control_characters_in_a_transcript_do_not_reach_the_terminal(predict, tmp_path):
    (tmp_path / "talk.txt").write_text("Ann: \x1b[31mred\x1b[0m <b>\nBob: \u202eback", encoding="utf-8")
    _, out, _ = predict("talk.txt")
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_control_characters_in_a_name_do_not_reach_the_terminal(predict, clip, tmp_path):
    clip = clip.rename(tmp_path / "red\x1b[31m\nline.wav")
    for _ in range(2):  # the second time it was done before
        code, out, _ = predict(clip)
        assert code == cli.DONE
        assert "\x1b" not in out
        assert "\nline.wav" not in out


def test_control_characters_in_a_name_do_not_reach_the_terminal_in_errors_either(predict, tmp_path):
    folder = tmp_path / "clips\x1b[2J"
    folder.mkdir()
    for name in ("a\x1b[31m\nb.mp4", "c.mp4"):
        (folder / name).write_bytes(b"words " * 100)
    for arguments in (
        [folder],
        [folder / "c.mp4"],
        [folder / "gone\n.mp4"],
        ["--segments", folder / "gone\n.mp4"],
    ):
        code, _, err = predict(*arguments)
        assert code != cli.DONE
        assert "clips [2J" in err
        assert "\x1b" not in err
        assert "\n.mp4" not in err
        assert "\nb.mp4" not in err


def test_progress_is_shown_in_lines_where_there_is_no_terminal(predict, tmp_path, monkeypatch):
    monkeypatch.setattr("m2fnet.commands.progress.LINE_EVERY", 0)
    (tmp_path / "talk.txt").write_text("\n".join(f"Ann: number {n}" for n in range(12)), encoding="utf-8")
    _, _, err = predict("talk.txt")
    assert err.splitlines() == ["talk.txt: 8 of 12 utterances", "talk.txt: 12 of 12 utterances"]


def test_progress_is_a_bar_on_a_terminal(predict, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    (tmp_path / "talk.txt").write_text("\n".join(f"Ann: number {n}" for n in range(12)), encoding="utf-8")
    _, _, err = predict("talk.txt")
    assert "talk.txt: " in err
    assert "/12" in err


def test_of_a_long_conversation_the_first_utterances_are_printed(predict, tmp_path):
    (tmp_path / "talk.txt").write_text("\n".join(f"Ann: number {n}" for n in range(50)), encoding="utf-8")
    _, out, _ = predict("talk.txt")
    assert "number 39" in out
    assert "number 40" not in out
    assert "… and 10 utterances more" in out


def test_a_folder_is_all_its_clips_and_a_bad_one_stops_none(predict, clip, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.wav", "c.WAV"):
        shutil.copy(clip, folder / name)
    shutil.copy(clip.with_suffix(".srt"), folder / "a.srt")
    (folder / "b.mp4").write_bytes(b"#EXTM3U\nhttp://example.org/a.ts\n")
    (folder / "notes.pdf").write_bytes(b"x")
    code, out, err = predict(folder)
    assert code == cli.FAILED
    assert "Skipped, because they are not clips: notes.pdf" in out
    assert "b.mp4 failed: " in err
    assert "m2fnet predict: 1 of 3 clips failed, see the messages above: b.mp4. The others are done." in err
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == ["a.wav", "c.WAV"]
    assert "a.wav: 2 utterances, from a.srt" in out


def test_what_is_done_is_not_done_again_unless_asked_to(predict, clip, tmp_path):
    predict(clip)
    results = tmp_path / "predictions" / "talk.wav"
    (results / "predictions.csv").write_text("mine", encoding="utf-8")
    code, out, _ = predict(clip)
    assert code == cli.DONE
    assert "talk.wav was done before" in out
    assert (results / "predictions.csv").read_text() == "mine"
    assert predict(clip, "--overwrite")[0] == cli.DONE
    assert (results / "predictions.csv").read_text() != "mine"


def test_results_never_go_where_the_clip_is(predict, clip):
    before = clip.read_bytes()
    code, _, err = predict(clip, "--out", clip.parent)
    assert code == cli.WRONG_USE
    assert "talk.wav is a file, but the results need a folder of that name" in err
    assert clip.read_bytes() == before


def test_two_at_once_do_not_write_into_one_folder(predict, clip, tmp_path):
    results = tmp_path / "predictions" / "talk.wav"
    with locked(results, PredictionError):
        code, _, err = predict(clip)
        assert code == cli.FAILED
        assert "predictions/talk.wav is locked by process " in err
        assert ". Wait for it to finish or use another folder." in err
    assert list(results.iterdir()) == []
    assert predict(clip)[0] == cli.DONE
    assert {path.name for path in results.iterdir()} == FILES


def test_no_folder_is_left_where_nothing_came_of_it(predict, clip, tmp_path):
    clip.with_suffix(".srt").unlink()
    assert predict(clip, model="reader")[0] == cli.FAILED
    assert list((tmp_path / "predictions").iterdir()) == []


def test_results_that_were_cut_off_are_made_again(predict, clip, tmp_path):
    predict(clip)
    (tmp_path / "predictions" / "talk.wav" / "about.json").unlink()
    _, out, _ = predict(clip)
    assert "2 utterances" in out


def test_results_of_another_model_clip_or_context_are_made_again_and_it_says_why(predict, clip, tmp_path):
    predict(clip)
    code, out, _ = predict(clip, model="other")
    assert code == cli.DONE
    assert "talk.wav was done before, but from another model; it is predicted again." in out
    assert "talk.wav: 2 utterances, from talk.srt" in out
    write_wav(clip, 3)
    out = predict(clip, "--causal", model="other")[1]
    assert "but from other utterances as context (--causal or not) and another clip; it is predicted again." in out
    given = predict(clip, "--segments", clip.with_suffix(".srt"), "--causal", model="other")[1]
    assert "but from other segments and other subtitles or none next to the clip; it is predicted again." in given
    assert "was done before: see" in predict(clip, "--segments", clip.with_suffix(".srt"), "--causal", model="other")[1]


def test_a_name_that_is_not_utf8_is_named_and_the_others_are_done(predict, tmp_path):
    (tmp_path / "in").mkdir()
    write_wav(tmp_path / "z.wav", 1)
    for name in (b"caf\xe9.wav", b"z.wav"):
        shutil.copy(tmp_path / "z.wav", tmp_path / "in" / os.fsdecode(name))
    code, out, err = predict("in")
    assert code == cli.FAILED
    assert "z.wav: 1 utterance, from " in out
    assert "failed: The name b'in/caf\\xe9.wav' is not valid UTF-8" in err
    code, _, err = predict(os.fsdecode(b"in/caf\xe9.wav"))
    assert code == cli.FAILED
    assert "Rename the file or its folder." in err


def test_hidden_files_are_no_clips(predict, tmp_path):
    (tmp_path / "in").mkdir()
    write_wav(tmp_path / "in" / "a.wav", 1)
    (tmp_path / "in" / "._a.wav").write_bytes(b"of another system")
    (tmp_path / "in" / "a.en.srt").write_text(subtitles(talk(1, seconds=1.0)), encoding="utf-8")
    code, out, _ = predict("in")
    assert code == cli.DONE
    assert "Skipped, because they are not clips: ._a.wav\n" in out


def test_a_photograph_is_one_utterance_without_times(predict, tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "face.jpg")
    code, out, _ = predict("face.jpg")
    assert code == cli.DONE
    assert "face.jpg: 1 utterance, from a photograph\n" in out
    assert "Without audio in all utterances (there is no sound: 1)" in out
    (tmp_path / "face.srt").write_text(subtitles(talk(1, seconds=1.0)), encoding="utf-8")
    code, _, err = predict("face.jpg", "--segments", "face.srt")
    assert code == cli.FAILED
    assert (
        "face.jpg is a still picture, which has no time in which somebody speaks. Give it without segments, or" in err
    )


def test_subtitles_that_were_added_or_corrected_are_read(predict, clip, tmp_path):
    later = clip.with_suffix(".srt")
    words = later.read_text(encoding="utf-8")
    later.unlink()
    predict(clip)
    table = tmp_path / "predictions" / "talk.wav" / "predictions.csv"
    for text in (words, words.replace(SENTENCES[0], "Corrected words")):
        later.write_text(text, encoding="utf-8")
        out = predict(clip)[1]
        assert "talk.wav was done before, but from other subtitles or none next to the clip" in out
        assert text.splitlines()[2].removeprefix("ANN: ").strip() in table.read_text(encoding="utf-8")
        assert "was done before: see" in predict(clip.parent)[1]  # as one of a folder
    later.unlink()
    assert "it is predicted again" in predict(clip)[1]
    assert "Corrected words" not in table.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected a clip, a folder of clips, or a transcript"),
        (["gone.mp4"], "gone.mp4 does not exist; expected a clip"),
        (["tlk.wav"], "Like it there is: talk.wav"),
        (["talk.wav", "--speakers", "many"], "expected a whole number from 1, or auto, got 'many'"),
        (["talk.wav", "--segments", "gone.srt"], "gone.srt does not exist"),
        ([".", "--segments", "talk.srt"], "--segments holds the utterances of one conversation, but . is a folder"),
        (["/dev/zero"], "/dev/zero is not a regular file"),
        (["empty"], "empty holds no clip among 0 files"),
        (["talk.wav", "--device", "toaster"], "The device 'toaster' is not there"),
        (["talk.wav", "--threads", "0"], "argument --threads: expected a whole number from 1, got '0'"),
        (["talk.wav", "--max-minutes", "long"], "expected a number above 0, got 'long'"),
        (["talk.wav", "--max-minutes", "nan"], "expected a number above 0, got 'nan'"),
        (["talk.wav", "--out", "talk.srt"], "talk.srt is a file, but the results need a folder of that name"),
    ],
)
def test_wrong_use_is_named_in_a_sentence(predict, clip, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    code, _, err = predict(*arguments)
    assert code == cli.WRONG_USE
    assert message in err


def test_bad_input_fails_in_a_sentence(predict, clip, tmp_path):
    (tmp_path / "talk.srt").write_text("1\n00:00:02,000 --> 00:00:01,000\nHi\n", encoding="utf-8")
    code, _, err = predict(clip)
    assert code == cli.FAILED
    assert "talk.srt:2" in err
    (tmp_path / "talk.srt").unlink()
    code, _, err = predict(clip, model="reader")
    assert code == cli.FAILED
    assert "text: there is no transcript" in err


def test_a_clip_longer_than_allowed_is_refused(predict, clip):
    code, _, err = predict(clip, "--max-minutes", "0.02")
    assert code == cli.FAILED
    assert "talk.wav lasts 0.1 minutes, expected at most 0.02. Cut it, or allow more with --max-minutes." in err


def test_what_is_fitted_in_closed_form_gets_one_thread_unless_asked_otherwise(predict, clip):
    torch.set_num_threads(2)
    predict(clip, "--threads", "3")
    assert torch.get_num_threads() == 3
    predict(clip)
    assert torch.get_num_threads() == 1


def test_networks_get_all_threads(predict, clip, monkeypatch):
    networks = made_up_model()
    networks.extractors["audio"].layer = torch.nn.Linear(1, 1)
    monkeypatch.setattr("m2fnet.pipeline.pipeline.load_model", lambda place: networks)
    torch.set_num_threads(2)
    assert predict(clip)[0] == cli.DONE
    assert torch.get_num_threads() == 2


def test_help_needs_no_torch(predict):
    script = "import sys; from m2fnet.cli import run; run(['predict', '--help']); print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "every clip is a conversation" in " ".join(printed.split())
    assert printed.splitlines()[-1] == "False"


@pytest.mark.slow
def test_a_trained_run_predicts_what_its_test_predicted_for_the_same_dialogue(tmp_path, monkeypatch):
    """From a corpus to one's own transcript, with the commands a user types."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    classes = ("neutral", "joy", "anger")
    utterances = [
        Utterance(
            f"{split}{d}_{n}",
            "tiny",
            split,
            f"{split}{d}",
            n,
            "AB"[n % 2],
            SENTENCES[(n + d) % 6],
            classes[(n + d) % 3],
        )
        for split, dialogues in (("train", 6), ("dev", 2), ("test", 2))
        for d in range(dialogues)
        for n in range(5)
    ]
    Manifest("tiny", LabelSet("tiny", classes), tuple(utterances)).save(tmp_path / "data")
    net = {"class_path": "dialog.models.m2fnet.M2FNet", "init_args": {"width": 8, "heads": 2, "hidden": 8}}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2}
    config = {
        "trainer": quiet,
        "data": {"manifest": "data", "stores": {"text": "text"}, "predict_split": "test"},
        "model": {"net": net},
    }
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    lsa = ["--config", "conf/extractors/text_lsa.yaml", "--manifest", "data", "--run", "runs/text_lsa"]
    for command in (
        ["extractor", "fit", *lsa, "--model.net.min_df", "1"],
        ["extract", "--ckpt", "runs/text_lsa", "--manifest", "data", "--out", "text"],
        ["dialog", "fit", "--config", "net.yaml", "--run", "runs/net/seed-0"],
        ["dialog", "predict", "--config", "runs/net/seed-0/config.yaml"],
    ):
        assert cli.run(command) == cli.DONE
    said = [json.loads(line) for line in (tmp_path / "runs/net/seed-0/labels_test.jsonl").read_text().splitlines()]
    lines = [f"{utterance.speaker}: {utterance.text}" for utterance in utterances if utterance.dialogue == "test1"]
    (tmp_path / "talk.txt").write_text("\n".join(lines), encoding="utf-8")
    script = "import sys; from m2fnet.cli import run; run(sys.argv[1:]); print('pytorch_lightning' in sys.modules)"
    arguments = ["predict", "talk.txt", "--model", "runs/net/seed-0"]
    printed = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines()[-1] == "False"
    found = load(tmp_path / "predictions" / "talk.txt" / "predictions.jsonl")
    expected = [row["probabilities"] for row in said if row["dialogue"] == "test1"]
    for prediction, probabilities in zip(found, expected, strict=True):
        assert prediction.probabilities == pytest.approx(probabilities, abs=1e-5)
