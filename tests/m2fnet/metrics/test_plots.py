"""`m2fnet report --plots`: every picture that the runs have the data for, on one page that loads nothing."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import torch
import yaml

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.manifest import Manifest
from m2fnet.plots.confusion import confusion
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


def test_a_run_with_everything_gives_every_picture_inside_one_page(tested, corpus, tmp_path, capsys):
    folder = with_store(with_logs(tested("a/seed-0")), corpus)
    assert run(["report", "--plots", str(folder), "--out", str(tmp_path / "out")]) == DONE, capsys.readouterr().err
    assert "Not drawn" not in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    names = {path.stem for path in (tmp_path / "out" / "plots").glob("*.svg")}
    assert names >= {"classes", "confusion", "curves", "calibration", "timeline-middling", "embeddings-1"}
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
    assert "Not drawn" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_text_from_strangers_is_escaped(tmp_path):
    from m2fnet.plots.page import as_html
    from m2fnet.plots.pictures import LeftOut, Picture

    hostile = "<script>alert(1)</script>\"'"
    summary = {"corpus": hostile, "turns": 1, "dialogues": 1, "settings": [], "majority": []}
    drawn = [Picture("p", hostile, hostile, confusion(np.eye(2), ["a", "b"], "turns")), LeftOut(hostile, hostile)]
    page = as_html(summary, drawn, {"p": b"<svg/>"})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_pictures_and_mistakes_are_two_pages(tested):
    assert run(["report", "--plots", "--errors", str(tested("a/seed-0"))]) == WRONG_USE
