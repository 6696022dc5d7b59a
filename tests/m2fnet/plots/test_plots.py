"""`m2fnet report --plots`: every picture that the runs have the data for, on one page that loads nothing."""

import base64
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from matplotlib.text import Text

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import RunError
from m2fnet.manifest import Manifest
from m2fnet.plots.attention import DialogueAttention, attention_maps
from m2fnet.plots.confusion import confusion
from m2fnet.plots.missing import MissingScores, missing_curves
from m2fnet.runs.curves import Curves
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


def with_attention(folder, weights=((1.0, 0.0), (0.25, 0.75))):
    """As `m2fnet dialog test` leaves it, for one dialogue of two turns and three layers."""
    turns = [{"id": "a", "speaker": "Ann", "label": "joy"}, {"id": "b", "speaker": None, "label": None}]
    maps = [{"layer": layer, "keys": "audio", "weights": weights} for layer in (1, 2, 3)]
    content = {"dialogues": [{"dialogue": "d", "turns": turns, "attention": maps}]}
    (folder / "attention.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_run_with_everything_gives_every_picture_inside_one_page(tested, corpus, tmp_path, capsys):
    folder = with_attention(with_missing(with_store(with_logs(tested("a/seed-0")), corpus)))
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
    }
    assert names == {path.stem for path in (tmp_path / "out" / "plots").glob("*.png")}
    assert len(images) == len(names)
    for image in images:
        assert ElementTree.fromstring(base64.b64decode(image)).tag.endswith("svg")
    assert not re.search(r"<script|\bon\w+=|(?:src|href)=\"(?!data:|#)", page)


def test_what_cannot_be_drawn_is_named_with_the_reason(tested, tmp_path, capsys):
    assert run(["report", "--plots", str(tested("a/seed-0")), "--out", str(tmp_path / "out")]) == DONE
    printed = capsys.readouterr().out
    assert "Not drawn: Training curves." in printed
    assert "Not drawn: Embedding maps." in printed
    assert re.search(r"Not drawn: Missing modalities\. .*`m2fnet dialog missing --config .*` writes it", printed)
    assert re.search(r"Not drawn: Attention .* if its network has fusion layers, `.* --config .*` writes it", printed)
    assert "Not drawn" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_of_a_run_with_one_modality_nothing_can_be_left_out(tested, tmp_path, capsys):
    folder = tested("a/seed-0", modalities=("text",))
    assert run(["report", "--plots", str(folder), "--out", str(tmp_path / "out")]) == DONE
    assert "Not drawn: Missing modalities. Every run reads one modality" in capsys.readouterr().out


def drawn_texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_curves_of_settings_lie_in_one_picture_as_means_over_their_runs(tested):
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
    assert curve.get_xlabel() == "chance of each modality to be left out of an utterance (%),\nwhich keeps at least one"


def test_the_page_says_what_tells_two_settings_apart(tested, tmp_path):
    folders = [str(tested(f"{width}/seed-0", width=width)) for width in (4, 8)]
    assert run(["report", "--plots", *folders, "--out", str(tmp_path / "out")]) == DONE
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<th>model.net.init_args.width</th>" in page
    assert "<td>4</td></tr>" in page
    assert "<td>8</td></tr>" in page


def test_missing_scores_of_other_data_are_not_drawn_beside_the_report(tested, tmp_path, capsys):
    folder = with_missing(tested("a/seed-0"))
    content = json.loads((folder / "missing.json").read_text(encoding="utf-8")) | {"manifest_sha256": "0"}
    (folder / "missing.json").write_text(json.dumps(content), encoding="utf-8")
    assert run(["report", "--plots", str(folder), "--out", str(tmp_path / "out")]) == DONE
    assert "missing.json is of other data than the report" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.json", "attention.json"])
@pytest.mark.parametrize("text", ["{}", "[]", '{"random": 3, "subsets": 3, "dialogues": 3}', "{"])
def test_a_damaged_file_is_named_with_what_writes_it_anew(tested, name, text):
    folder = tested("a/seed-0")
    (folder / name).write_text(text, encoding="utf-8")
    read = {"missing.json": MissingScores.read, "attention.json": DialogueAttention.read}[name]
    with pytest.raises(RunError, match=rf"{name}.*`m2fnet dialog (missing|test) --config .*` writes it anew"):
        read(folder)


@pytest.mark.parametrize(
    "weights", [[[1.0]], [[1.0, 2.0], [0.0, 0.0]], [[1.0, "x"], [0.0, 0.0]], [[1.0, None], [0, 0]]]
)
def test_attention_that_is_none_is_refused(tested, weights):
    with pytest.raises(RunError, match=r"attention\.json is damaged"):
        DialogueAttention.read(with_attention(tested("a/seed-0"), weights))


def test_attention_is_labelled_with_speakers_and_emotions(tested):
    (found,) = DialogueAttention.read(with_attention(tested("a/seed-0")))
    assert found.turns == ("Ann: joy", "someone: no label")
    figure = attention_maps(found.turns, found.maps)
    first, *_, last, shades = figure.axes
    assert {"1 Ann: joy", "2 someone: no label"} == {t.get_text() for t in first.get_yticklabels()}
    assert {"1 Ann: joy", "2 someone: no label"} == {t.get_text() for t in last.get_xticklabels()}
    assert [axes.get_title() for axes in (first, last)] == ["layer 1, keys: audio", "layer 3, keys: audio"]
    assert shades.get_ylabel() == "attention (%)"


def test_text_from_strangers_is_escaped(tmp_path):
    from m2fnet.reports.figures import LeftOut, Picture
    from m2fnet.reports.html_page import as_html

    hostile = "<script>alert(1)</script>\"'"
    draw = {"draws": 1, "level": 0.95, "seed": 0}
    summary = {"corpus": hostile, "turns": 1, "dialogues": 1, "settings": [], "majority": [], "bootstrap": draw}
    drawn = [Picture("p", hostile, hostile, confusion(np.eye(2), ["a", "b"], "turns")), LeftOut(hostile, hostile)]
    page = as_html(summary, drawn, {"p": b"<svg/>"})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_pictures_and_mistakes_are_two_pages(tested):
    assert run(["report", "--plots", "--errors", str(tested("a/seed-0"))]) == WRONG_USE


def test_the_epoch_that_was_kept_is_the_one_with_its_score(tmp_path):
    (with_logs(tmp_path) / "fit.json").write_text(json.dumps({"epoch": 2}), encoding="utf-8")
    curves = Curves.read(tmp_path)
    assert curves.values["dev/weighted_f1"][curves.kept] == 0.4
