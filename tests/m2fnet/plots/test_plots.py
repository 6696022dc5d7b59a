"""`m2fnet report --plots`: every picture that the runs have the data for, on one page that loads nothing."""

import base64
import json
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from made_runs import made_manifest, made_run
from matplotlib.text import Text

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import RunError
from m2fnet.manifest import Manifest
from m2fnet.plots.attention import attention_maps
from m2fnet.plots.calibration import HANDFUL, label_reliability, reliability_diagram
from m2fnet.plots.confusion import confusion, together
from m2fnet.plots.curves import gradient_norms
from m2fnet.plots.missing import missing_curves
from m2fnet.reports.mistakes import find_mistakes
from m2fnet.runs.attention import DialogueAttention
from m2fnet.runs.curves import Curves
from m2fnet.runs.missing_scores import MissingScores
from m2fnet.runs.tested import collect
from m2fnet.store import StoreWriter


def with_logs(folder):
    (folder / "logs" / "version_0").mkdir(parents=True)
    lines = ["epoch,train/loss,dev/loss,dev/weighted_f1", "0,1.5,1.4,0.3", "1,1.2,1.3,0.4"]
    (folder / "logs" / "version_0" / "metrics.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def with_store(folder, place):
    manifest = Manifest.load(place)
    with StoreWriter(folder.parent / "text", manifest, modality="text", width=4, extractor={}) as writer:
        for utterance in manifest.utterances:
            writer.add(utterance.id, torch.rand(4, generator=torch.Generator().manual_seed(len(writer._seen))))
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["data"]["stores"] = {"text": str(folder.parent / "text")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def with_missing(folder, drop=0.05):
    """As `m2fnet dialog missing` leaves it: every step of the curve ``drop`` below the one before."""
    scores = [{"test.weighted_f1": {"value": 0.8 - drop * step}} for step in range(10)]
    given = [["text", "audio"], ["text"], ["audio"]]
    content = {
        "manifest_sha256": json.loads((folder / "report.json").read_text(encoding="utf-8"))["manifest_sha256"],
        "random": [{"share": step / 10, **score} for step, score in enumerate(scores)],
        "subsets": [{"present": present, **score} for present, score in zip(given, scores, strict=False)],
    }
    (folder / "missing.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def with_attention(folder, weights=((1.0, 0.0), (0.25, 0.75)), key="utterances"):
    """As `m2fnet dialog test` leaves it, for one dialogue of two utterances and three layers."""
    utterances = [{"id": "a", "speaker": "Ann", "label": "joy"}, {"id": "b", "speaker": None, "label": None}]
    maps = [{"layer": layer, "keys": "audio", "weights": weights} for layer in (1, 2, 3)]
    content = {"dialogues": [{"dialogue": "d", key: utterances, "attention": maps}]}
    (folder / "attention.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def with_sound(tmp_path, *names):
    """Runs on a corpus whose test utterances can be heard, and the folder of its manifest."""
    place = tmp_path / "heard"
    manifest = made_manifest(place, sound=True)
    return [made_run(tmp_path / name, manifest, place, seed=n) for n, name in enumerate(names)], place


def test_a_run_with_everything_gives_every_picture_inside_one_page(tmp_path, capsys):
    (folder,), corpus = with_sound(tmp_path, "a/seed-0")
    folder = with_attention(with_missing(with_store(with_logs(folder), corpus)))
    assert run(["report", "--plots", str(folder), "--out", str(tmp_path / "out")]) == DONE, capsys.readouterr().err
    assert "Not drawn" not in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    names = {path.stem for path in (tmp_path / "out" / "plots").glob("*.svg")}
    assert names >= {
        "classes",
        "confusion",
        "curves",
        "calibration",
        "timeline-middling",
        "embeddings-1",
        "missing",
        "attention-1",
        "spectrogram-1",
        "spectrogram-3",
    }
    assert names == {path.stem for path in (tmp_path / "out" / "plots").glob("*.png")}
    assert len(images) == len(names)
    for image in images:
        assert ElementTree.fromstring(base64.b64decode(image)).tag.endswith("svg")
    assert not re.search(r"<script|\bon\w+=|src=\"(?!data:)|href=\"(?!data:|#|plots/[\w-]+\.(?:svg|png)\")", page)


def test_what_cannot_be_drawn_is_named_with_the_reason(tested, tmp_path, capsys):
    assert run(["report", "--plots", str(tested("a/seed-0")), "--out", str(tmp_path / "out")]) == DONE
    printed = capsys.readouterr().out
    assert "Not drawn: Training curves." in printed
    assert "Not drawn: Embedding maps." in printed
    assert re.search(r"Not drawn: Missing modalities\. .*`m2fnet dialog missing --config .*` writes it", printed)
    assert re.search(r"Not drawn: Attention .* if its network has fusion layers, `.* --config .*` writes it", printed)
    assert "Not drawn" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_spectrograms_are_of_confident_mistakes_that_can_be_heard(tmp_path, capsys):
    folders, place = with_sound(tmp_path, "a/seed-0", "a/seed-1")
    mistakes = find_mistakes([run for s in collect(folders) for run in s.runs], Manifest.load(place), ["test"])
    utterances = {u.id: u for u in Manifest.load(place).utterances}
    first, second, *_ = mistakes["id"]
    (place / "raw" / utterances[first].audio).write_bytes(b"no sound")
    assert run(["report", "--plots", *map(str, folders), "--out", str(tmp_path / "out")]) == DONE
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"A confident mistake as sound: {second}" in page
    assert f"A confident mistake as sound: {first}" not in page
    for utterance in utterances.values():
        if utterance.audio:
            (place / "raw" / utterance.audio).unlink()
    capsys.readouterr()
    assert run(["report", "--plots", *map(str, folders), "--out", str(tmp_path / "out")]) == DONE
    printed = capsys.readouterr().out
    assert f"Not drawn: Spectrograms. No sound of the 30 test utterances tried can be read, first {first}: " in printed


def test_of_a_run_with_one_modality_none_can_be_missing(tested, tmp_path, capsys):
    folder = tested("a/seed-0", modalities=("text",))
    assert run(["report", "--plots", str(folder), "--out", str(tmp_path / "out")]) == DONE
    assert "Not drawn: Missing modalities. Every run reads one modality" in capsys.readouterr().out


def drawn_texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_curves_of_settings_are_in_one_picture_as_means_over_their_runs(tested):
    runs = [
        MissingScores.read(with_missing(tested(f"a/seed-{n}", seed=n), drop)) for n, drop in enumerate((0.02, 0.04))
    ]
    other = MissingScores.read(with_missing(tested("b/seed-0", width=4), 0.01))
    figure = missing_curves({"plain": runs, "dropout": [other]}, majority=0.3)
    curve, points = figure.axes
    plain, dropout = (container.lines[0].get_ydata() for container in curve.containers)
    assert plain[-1] == pytest.approx(80 - 9 * 3)
    assert dropout[-1] == pytest.approx(80 - 9)
    assert [container.has_yerr for container in curve.containers] == [True, False]  # one run has no deviation
    assert [tick.get_text() for tick in points.get_yticklabels()] == ["text + audio", "text", "audio"]
    assert "majority class" in drawn_texts(figure)
    assert curve.get_xlabel() == "chance that a modality is missing from an utterance (%),\nwhich keeps at least one"


def test_the_page_says_what_tells_two_settings_apart(tested, tmp_path):
    folders = [str(tested(f"{width}/seed-0", width=width)) for width in (4, 8)]
    assert run(["report", "--plots", *folders, "--out", str(tmp_path / "out")]) == DONE
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<th>model.net.init_args.width</th>" in page
    assert "<td>4</td></tr>" in page
    assert "<td>8</td></tr>" in page


def test_missing_scores_of_other_data_are_not_drawn(tested, tmp_path, capsys):
    folder = with_missing(tested("a/seed-0"))
    content = json.loads((folder / "missing.json").read_text(encoding="utf-8")) | {"manifest_sha256": "0"}
    (folder / "missing.json").write_text(json.dumps(content), encoding="utf-8")
    assert run(["report", "--plots", str(folder), "--out", str(tmp_path / "out")]) == DONE
    assert "missing.json is of other data than the report" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.json", "attention.json"])
@pytest.mark.parametrize("text", ["{}", "[]", '{"random": 3, "subsets": 3, "dialogues": 3}', "{"])
def test_a_damaged_file_is_named_with_what_writes_it_again(tested, name, text):
    folder = tested("a/seed-0")
    (folder / name).write_text(text, encoding="utf-8")
    read = {"missing.json": MissingScores.read, "attention.json": DialogueAttention.read}[name]
    with pytest.raises(RunError, match=rf"{name}.*`m2fnet dialog (missing|test) --config .*` writes it again"):
        read(folder)


@pytest.mark.parametrize(
    "weights", [[[1.0]], [[1.0, 2.0], [0.0, 0.0]], [[1.0, "x"], [0.0, 0.0]], [[1.0, None], [0, 0]]]
)
def test_attention_that_is_none_is_refused(tested, weights):
    with pytest.raises(RunError, match=r"attention\.json is damaged"):
        DialogueAttention.read(with_attention(tested("a/seed-0"), weights))


@pytest.mark.parametrize("key", ["utterances", "".join(["tur", "ns"])])  # the second is the key of older runs
def test_attention_is_labelled_with_speakers_and_emotions(tested, key):
    (found,) = DialogueAttention.read(with_attention(tested("a/seed-0"), key=key))
    assert found.utterances == ("Ann: joy", "someone: no label")
    figure = attention_maps(found.utterances, found.maps)
    first, *_, last, shades = figure.axes
    assert {"1 Ann: joy", "2 someone: no label"} == {t.get_text() for t in first.get_yticklabels()}
    assert {"1 Ann: joy", "2 someone: no label"} == {t.get_text() for t in last.get_xticklabels()}
    assert [axes.get_title() for axes in (first, last)] == ["layer 1, keys: audio", "layer 3, keys: audio"]
    assert shades.get_ylabel() == "attention (%)"


def test_text_from_strangers_is_escaped(tmp_path):
    from m2fnet.reports.figures import NotDrawn, Picture
    from m2fnet.reports.html_page import as_html
    from m2fnet.reports.summary_page import Section

    hostile = "<script>alert(1)</script>\"'"
    drawn = [Picture("p", hostile, hostile, confusion(np.eye(2), ["a", "b"])), NotDrawn(hostile, hostile)]
    table = Section(hostile, pd.DataFrame({hostile: [hostile]}), (hostile,))
    page = as_html(hostile, [table, table], drawn, {"p": b"<svg/>"})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 14


def test_pictures_and_mistakes_are_two_pages(tested):
    assert run(["report", "--plots", "--errors", str(tested("a/seed-0"))]) == WRONG_USE


def test_the_epoch_that_was_kept_is_the_one_with_its_score(tmp_path):
    (with_logs(tmp_path) / "fit.json").write_text(json.dumps({"epoch": 2}), encoding="utf-8")
    curves = Curves.read(tmp_path)
    assert curves.values["dev/weighted_f1"][curves.kept] == 0.4


def test_gradient_norms_of_a_run_are_read_and_drawn_in_the_order_of_the_network(tmp_path):
    file = with_logs(tmp_path) / "logs" / "version_1" / "metrics.csv"
    file.parent.mkdir()
    file.write_text("epoch,gradient/000/first.0,gradient/001/head\n0,0.5,2.0\n1,0.25,\n", encoding="utf-8")
    curves = Curves.read(tmp_path)
    assert curves.gradients == {"first.0": {0: 0.5, 1: 0.25}, "head": {0: 2.0}}
    (axes,) = gradient_norms({"plain": [curves]}).axes
    assert [(line.get_label(), list(line.get_ydata())) for line in axes.lines] == [
        ("first.0", [0.5, 0.25]),
        ("head", [2.0]),
    ]


def test_many_panels_of_gradient_norms_are_in_rows_of_three():
    curves = Curves(gradients={"head": {0: 1.0}})
    panels = gradient_norms({str(n): [curves] for n in range(7)}).axes
    assert len({round(axes.get_position().y0, 3) for axes in panels}) == 3
    assert [axes.get_title() for axes in panels] == list("0123456")


def test_each_emotion_of_a_set_has_a_panel_with_how_often_it_occurs_by_its_probability():
    chances = np.array([0.25] * 20 + [0.75] * (HANDFUL - 1))
    has = np.array([True] * 5 + [False] * 15 + [True] * (HANDFUL - 1))
    figure = label_reliability(dict.fromkeys(("joy", "anger", "fear", "sadness", "pride"), (chances, has)))
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in drawn] == [
        f"{name} (n = 14)" for name in ("joy", "anger", "fear", "sadness", "pride")
    ]
    bars = [(round(bar.get_center()[0]), round(bar.get_height()), bar.get_hatch()) for bar in drawn[0].patches]
    assert bars == [(25, 25, None), (75, 100, "///")]
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_tightbbox()) for axes in drawn)


def test_bins_of_a_handful_are_hatched_and_the_legend_is_outside_the_panels():
    few, many = [[0.65, 0.35]] * (HANDFUL - 1), [[0.95, 0.05]] * HANDFUL
    figure = reliability_diagram({"M2FNet": (np.array(few + many), np.zeros(2 * HANDFUL - 1, dtype=int))})
    upper = figure.axes[0]
    assert [(round(bar.get_center()[0]), bar.get_hatch()) for bar in upper.patches] == [(65, "///"), (95, None)]
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert f"fewer than {HANDFUL} of them" in [text.get_text() for text in legend.get_texts()]
    frame = legend.get_window_extent()
    assert not any(frame.overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_an_emotion_that_is_never_predicted_has_no_shares():
    true, predicted = together([[8, 2], [2, 4]], [[9, 0], [0, 0]], ["joy", "anger"]).axes[:2]
    assert [text.get_text() for text in true.texts] == ["100", "25", "50", "100"]
    assert [text.get_text() for text in predicted.texts] == ["100", "0", "–", "–"]
