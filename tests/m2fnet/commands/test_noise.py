"""``m2fnet noise``: without noise the score is the report's; what is written, drawn and refused."""

import json
import shutil

import pytest
import torch

from extractors.extraction.embedding import Loading, embed, place_utterances
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import RunError
from m2fnet.manifest import Manifest
from m2fnet.media.noise import Noise, words_of
from m2fnet.model import assemble
from m2fnet.pipeline.noisy import NoisyTest
from m2fnet.plots import missing_curves
from m2fnet.runs.missing_scores import MissingScores
from m2fnet.runs.noise_scores import NoiseScores


@pytest.fixture(scope="module")
def noisy_root(trained_root, tmp_path_factory):
    """A copy of everything that was trained, its dialogue run tested with noise."""
    root = shutil.copytree(trained_root, tmp_path_factory.mktemp("noisy") / "trained")
    assert run(["noise", str(root / "runs" / "talk" / "seed-2"), "--workers", "0"]) == DONE
    return root


@pytest.fixture
def folder(noisy_root):
    return noisy_root / "runs" / "talk" / "seed-2"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_without_noise_the_score_is_that_of_the_report(folder):
    found, report = read(folder / "noise.json"), read(folder / "report.json")
    assert found["without"]["weighted_f1"]["value"] == pytest.approx(report["test"]["weighted_f1"], abs=1e-12)
    assert found["without"]["accuracy"]["value"] == pytest.approx(report["test"]["accuracy"], abs=1e-12)
    assert found["manifest_sha256"] == report["manifest_sha256"]


def test_every_stream_has_its_levels_and_a_table(folder):
    found, page = NoiseScores.read(folder), (folder / "noise.md").read_text(encoding="utf-8")
    assert set(found.by_level) == {"audio", "text"}  # the run reads no pictures
    assert "signal to noise (dB)" in page
    assert "words replaced (%)" in page
    assert "blur" not in page


@pytest.mark.slow
def test_sets_of_emotions_are_scored_with_the_thresholds_of_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["m2fnet"])

    def command(words):
        assert run([word.format(root=tmp_path) for word in words.split()]) == DONE

    command("prepare toy --label-sets --root {root}/raw --dialogues 12 6 6 --out {root}/data --quiet")
    command(
        "extract --config conf/extractors/text_lsa.yaml --run {root}/lsa --model.net.width 8 --manifest {root}/data "
        "--out {root}/text --workers 0"
    )
    command(
        "dialog fit --config conf/dialog/linear.yaml --run {root}/run --data.manifest {root}/data "
        "--data.streams [text] --data.stores.text {root}/text --trainer.max_epochs 2 "
        "--trainer.enable_progress_bar false"
    )
    command("dialog test --config {root}/run/config.yaml")
    command("noise {root}/run --workers 0")
    found, report = read(tmp_path / "run" / "noise.json"), read(tmp_path / "run" / "report.json")
    for name, interval in found["without"].items():
        assert interval["value"] == pytest.approx(report["test"][name], abs=1e-12)
    assert set(found["without"]) >= {"micro_f1"}


def test_levels_that_were_scored_are_not_scored_again(folder, noisy_root, tmp_path):
    test = NoisyTest(assemble(folder), Manifest.load(noisy_root / "manifest"), "test", Loading(workers=0))
    kept, lines = tmp_path / "kept.json", []

    def stop_at_the_fourth(line):
        if line.startswith("noise 4 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        test.scores(0, stop_at_the_fourth, kept)
    found = test.scores(0, lines.append, kept)
    assert lines[:2] == ["3 of 13 levels were scored by an earlier run", "noise 4 of 13: audio, level 5"]
    assert found["noise"] == read(folder / "noise.json")["noise"]
    test.scores(1, lines.append, kept)  # other noise: nothing of it is there
    assert lines[-13].startswith("noise 1 of 13")
    for damaged in (
        "half a fi",
        json.dumps({**found, "noise": [1]}),
        json.dumps({**found, "noise": found["noise"][1:]}),
    ):
        kept.write_text(damaged, encoding="utf-8")
        lines.clear()
        assert test.scores(0, lines.append, kept) == found
        assert len(lines) == 13


def test_what_was_kept_in_between_goes_with_the_end(folder):
    assert not list(folder.glob("noise-unfinished*"))


@pytest.mark.parametrize("stream", ["text", "audio"])
def test_an_extractor_reads_what_is_noisy(folder, noisy_root, stream):
    extractor, manifest = assemble(folder).extractors[stream], Manifest.load(noisy_root / "manifest")

    def embedded(noise):
        found = embed(extractor, place_utterances(manifest, "test", noise), Loading(workers=0))
        return torch.stack([vector for _, vector in found if isinstance(vector, torch.Tensor)])

    words = words_of([u.text for u in manifest.utterances if u.text])
    noise = {"text": Noise("text", 100.0, words), "audio": Noise("audio", 0.0)}
    clean, other = embedded(None), {"text": "audio", "audio": "text"}[stream]
    assert torch.equal(embedded(noise[other]), clean)
    assert not torch.allclose(embedded(noise[stream]), clean)


def test_noise_is_drawn_next_to_what_is_missing(folder):
    missing = MissingScores({0.0: 0.7, 0.5: 0.6}, {"text + audio": 0.7, "text": 0.6}, "0")
    noise = NoiseScores.read(folder)
    figure = missing_curves({"first": [missing], "second": [missing]}, 0.3, {"second": [noise, noise]})
    _, _, heard, read = figure.axes
    assert heard.get_title() == "white noise in the sound"
    assert [label.get_text() for label in read.get_xticklabels()] == ["none", "10", "20", "40", "60", "80", "100"]
    (line,) = [container.lines[0] for container in read.containers]
    assert line.get_ydata()[0] == pytest.approx(100 * noise.clean)
    assert line.get_color() == figure.axes[0].containers[1].lines[0].get_color()  # a setting keeps its colour


def test_the_report_draws_both(folder, tmp_path, capsys):
    assert run(["dialog", "missing", "--config", str(folder / "config.yaml"), "--quiet"]) == DONE
    assert run(["report", str(folder), "--plots", "--out", str(tmp_path / "out")]) == DONE
    assert "noise in one modality, scored on test" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_damaged_file_is_named(folder, tmp_path):
    shutil.copy(folder / "noise.json", tmp_path)
    content = read(tmp_path / "noise.json")
    content["noise"][0]["weighted_f1"]["value"] = float("nan")
    (tmp_path / "noise.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=r"noise\.json is damaged .*writes it again"):
        NoiseScores.read(tmp_path)


def test_a_run_that_was_not_tested_is_refused(tmp_path, capsys):
    assert run(["noise", str(tmp_path)]) == WRONG_USE
    assert "has no report.json; expected the folder of a tested dialogue run" in capsys.readouterr().err


def test_one_stream_has_one_extractor(folder, capsys):
    assert run(["noise", str(folder), "--extractor", "text=a", "--extractor", "text=b"]) == WRONG_USE
    assert "names one stream twice" in capsys.readouterr().err
