"""Fit, save, load, embed: what holds for every closed-form extractor, on a tiny corpus of text, tones and pictures."""

import dataclasses
import json
import math
import os
import signal
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from extractors import fitted
from extractors.audio.mel_statistics import MelStatistics
from extractors.base import Extractor, Turn
from extractors.embedding import Loading, embed, turns
from extractors.extract import extract, is_store_of
from extractors.settings import Settings
from extractors.text.lsa import LSA
from extractors.visual.face_gradients import FaceGradients
from m2fnet.cli import run
from m2fnet.errors import MediaError, RunError, StoreError
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Missing, Store

WORDS = {"joy": "great, wonderful day!", "anger": "I hate this, go away!", "neutral": "the table is in the room"}
PITCH = {"joy": 300.0, "anger": 200.0, "neutral": 120.0}
GREY = {"joy": 220, "anger": 120, "neutral": 40}
CLASSES = {
    "extractors.text.lsa.LSA": {"width": 8},
    "extractors.audio.mel_statistics.MelStatistics": {"width": 6, "mels": 20},
    "extractors.visual.face_gradients.FaceGradients": {"scene_width": 4, "face_width": 4, "frames": 2},
}


def write_clip(path, hertz, grey, seed):
    generator = np.random.default_rng(seed)
    rate, seconds = 16_000, 0.5
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=8)
        video.width, video.height, video.pix_fmt = 48, 36, "yuv420p"
        audio = out.add_stream("aac", rate=rate, layout="mono")
        for _ in range(4):
            noise = generator.integers(-8, 9, (36, 48, 3))
            picture = np.clip(grey + noise, 0, 255).astype(np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
        wave = 0.4 * np.sin(2 * math.pi * hertz * generator.uniform(0.9, 1.1) * np.arange(int(rate * seconds)) / rate)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(audio.encode(frame))
        out.mux(audio.encode())


def tiny_utterances(root):
    utterances = []
    for split, dialogues in {"train": 6, "dev": 2, "test": 2}.items():
        for number in range(dialogues):
            for index, label in enumerate(WORDS):
                name = f"{split}{number}_{index}"
                write_clip(root / f"{name}.mp4", PITCH[label], GREY[label], seed=len(utterances))
                utterances.append(
                    Utterance(
                        name, "tiny", split, f"{split}{number}", index, "A", f"{WORDS[label]} {number}", label,
                        audio=f"{name}.mp4", video=f"{name}.mp4",
                    )
                )  # fmt: skip
    return tuple(utterances)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return Manifest("tiny", LabelSet("tiny", tuple(WORDS)), tiny_utterances(root), root).save(root / "manifest")


@pytest.fixture
def changed(corpus, tmp_path):
    """A function that saves the corpus with some utterances changed."""

    def change(which, **fields):
        new = tuple(dataclasses.replace(u, **fields) if which(u) else u for u in corpus.utterances)
        return dataclasses.replace(corpus, utterances=new).save(tmp_path / "changed")

    return change


def settings_of(class_path, tmp_path, **more):
    return Settings({"class_path": class_path, "init_args": CLASSES[class_path] | more}, tmp_path, tmp_path / "run")


def embeddings(extractor, manifest, **loading):
    return [vector for _, vector in embed(extractor, turns(manifest), Loading(**{"workers": 0} | loading))]


@pytest.mark.parametrize("class_path", CLASSES)
def test_a_loaded_fit_embeds_exactly_like_the_fit(class_path, corpus, tmp_path):
    run_ = fitted.fit(settings_of(class_path, tmp_path), corpus, Loading(workers=0))
    again = fitted.load(tmp_path / "run")
    first, second = embeddings(run_.extractor, corpus), embeddings(again.extractor, corpus)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert run_.provenance == again.provenance
    assert {len(vector) for vector in first} == {run_.extractor.width}
    assert torch.isfinite(torch.stack(first)).all()


@pytest.mark.parametrize("class_path", CLASSES)
def test_single_equals_batched_equals_read_by_workers(class_path, corpus, tmp_path):
    extractor = fitted.fit(settings_of(class_path, tmp_path), corpus, Loading(workers=0)).extractor
    single = torch.stack(embeddings(extractor, corpus, batch_size=1))
    torch.testing.assert_close(single, torch.stack(embeddings(extractor, corpus, batch_size=7)), atol=1e-5, rtol=1e-5)
    workers = torch.stack(embeddings(extractor, corpus, batch_size=7, workers=2))
    torch.testing.assert_close(single, workers, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("class_path", CLASSES)
def test_a_fit_knows_the_training_split_alone(class_path, corpus, changed, tmp_path):
    other = changed(
        lambda u: u.split != "train", text="other words", label=None, audio="train0_0.mp4", video="train0_0.mp4"
    )
    for name, manifest in {"a": corpus, "b": other}.items():
        fitted.fit(dataclasses.replace(settings_of(class_path, tmp_path), run=tmp_path / name), manifest, Loading())
    for file in ("fitted.safetensors", "vocabulary.json"):
        if (tmp_path / "a" / file).exists():
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("class_path", CLASSES)
def test_the_tiny_corpus_is_learnt(class_path, corpus, tmp_path):
    settings = settings_of(class_path, tmp_path)
    run_ = fitted.fit(settings, corpus, Loading(workers=0))
    scores = fitted.judge(settings.run, run_, corpus, "test", Loading(workers=0))
    assert scores["n"] == 6
    assert scores["weighted_f1"] > 0.8 > 0.2 > scores["majority_weighted_f1"] - 0.01


def test_variance_scaling_gives_the_training_split_mean_0_and_variance_1(corpus, tmp_path):
    run_ = fitted.fit(settings_of("extractors.text.lsa.LSA", tmp_path), corpus, Loading())
    train = load_file(tmp_path / "run" / fitted.TRAINING)["embeddings"]
    torch.testing.assert_close(train.mean(0), torch.zeros(run_.extractor.width), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(run_.extractor.width), atol=1e-3, rtol=0)


def test_length_scaling_gives_unit_vectors(corpus, tmp_path):
    run_ = fitted.fit(settings_of("extractors.text.lsa.LSA", tmp_path, scaling="length"), corpus, Loading())
    lengths = torch.stack(embeddings(run_.extractor, corpus)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


@pytest.mark.parametrize("text", ["🙂🙂🙂", "qqqq zzzz", "word " * 10_000, "\u2028", "İ\ufb01\u0130"])
def test_strange_text_is_finite(text, corpus, changed, tmp_path):
    run_ = fitted.fit(settings_of("extractors.text.lsa.LSA", tmp_path), corpus, Loading())
    other = changed(lambda u: u.id == "dev0_0", text=text)
    found = dict(zip([u.id for u in other.utterances], embeddings(run_.extractor, other), strict=True))["dev0_0"]
    assert isinstance(found, Missing) if not text.strip() else torch.isfinite(found).all()


@pytest.mark.parametrize(("text", "reason"), [(None, "no transcript"), ("  \n", "empty")])
def test_no_text_is_missing(text, reason, corpus, changed):
    other = changed(lambda u: u.id == "dev0_0", text=text)
    turn = next(turn for turn in turns(other) if turn.utterance.id == "dev0_0")
    with pytest.raises(MediaError, match=reason):
        LSA().preprocess(turn)


@pytest.mark.parametrize(
    "build", [lambda: LSA(width=0), lambda: LSA(words=(2, 1)), lambda: LSA(words=None, characters=None),
              lambda: MelStatistics(mels=1), lambda: MelStatistics(width=0), lambda: FaceGradients(min_face=4)],
)  # fmt: skip
def test_senseless_settings_are_refused(build):
    with pytest.raises(ValueError, match="Expected"):
        build()


@pytest.mark.parametrize("count", [1, 399, 400, 801])
def test_any_length_of_sound_gives_finite_statistics(count):
    generator = torch.Generator().manual_seed(0)
    extractor = MelStatistics()
    short = extractor.statistics(torch.randn(count, generator=generator).clamp(-1, 1))
    assert torch.isfinite(short).all()
    assert short.shape == extractor.statistics(torch.ones(20_000)).shape


def test_pitch_statistics_follow_the_pitch():
    time = torch.arange(16_000) / 16_000
    extractor = MelStatistics()
    low, high = (extractor.statistics(0.5 * torch.sin(2 * math.pi * hertz * time)) for hertz in (110.0, 220.0))
    is_pitch = slice(-9, -8)  # mean log pitch: the first of five numbers, before the four of rhythm
    torch.testing.assert_close(high[is_pitch] - low[is_pitch], torch.tensor([math.log(2)]), atol=0.03, rtol=0)


def test_unreadable_utterances_are_missing_with_their_reason(corpus, changed, tmp_path):
    (corpus.root / "words.mp4").write_text("no film")
    run_ = fitted.fit(
        settings_of("extractors.audio.mel_statistics.MelStatistics", tmp_path), corpus, Loading(workers=0)
    )
    other = changed(lambda u: u.id == "dev0_0", audio="words.mp4")
    other = dataclasses.replace(
        other, utterances=tuple(dataclasses.replace(u, audio=None) if u.id == "dev0_1" else u for u in other.utterances)
    ).save(tmp_path / "changed")
    missing = extract(run_.extractor, run_.provenance, other, tmp_path / "store", loading=Loading(workers=2))
    store = Store(tmp_path / "store")
    assert set(store.missing) == {"dev0_0", "dev0_1"}
    assert store.missing["dev0_0"].stage == "open"
    assert store.missing["dev0_1"] == Missing("audio", "the manifest names no sound")
    assert missing.total() == 2
    assert store.meta.extractor == run_.provenance
    store.require(other)


def test_a_training_split_without_the_modality_is_refused(corpus, changed, tmp_path):
    silent = changed(lambda u: True, text=None)
    with pytest.raises(RunError, match=r"None of the 18 utterances .* read as text.*no transcript"):
        fitted.fit(settings_of("extractors.text.lsa.LSA", tmp_path), silent, Loading())


def test_changed_weights_are_refused(corpus, tmp_path):
    fitted.fit(settings_of("extractors.text.lsa.LSA", tmp_path), corpus, Loading())
    vocabulary = tmp_path / "run" / "vocabulary.json"
    vocabulary.write_text(vocabulary.read_text().replace("table", "cable"))
    with pytest.raises(RunError, match="not the ones"):
        fitted.load(tmp_path / "run")


class Broken(LSA):
    """Has a defect at one utterance."""

    def preprocess(self, turn: Turn):
        if turn.utterance.id == "dev1_0":
            raise KeyError("our own defect")
        return super().preprocess(turn)


class Dying(LSA):
    """Its worker is killed at one utterance."""

    def preprocess(self, turn: Turn):
        if turn.utterance.id == "dev1_0":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().preprocess(turn)


@pytest.mark.parametrize("workers", [0, 1])
def test_our_own_defects_are_not_swallowed(workers, corpus, tmp_path):
    extractor = Broken(width=4)
    extractor.fit([{"text": text} for text in ("one two three", "two three four")] * 3)
    with pytest.raises(KeyError) as caught:
        extract(extractor, {}, corpus, tmp_path / "store", loading=Loading(workers=workers))
    assert "dev1_0" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    with pytest.raises(StoreError):
        Store(tmp_path / "store")


def test_a_killed_worker_ends_the_extraction(corpus, tmp_path):
    extractor = Dying(width=4)
    extractor.fit([{"text": text} for text in ("one two three", "two three four")] * 3)
    with pytest.raises(RunError, match="worker process died"):
        extract(extractor, {}, corpus, tmp_path / "store", loading=Loading(batch_size=2, workers=1))
    assert not is_store_of(tmp_path / "store", {}, corpus, "float32")


@pytest.fixture
def config(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {
        "extractor": {"class_path": "extractors.text.lsa.LSA", "init_args": {"width": 8}},
        "manifest": str(corpus.root / "manifest"),
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "tiny.yaml"


def test_fit_validate_test_report_the_probe(config, capsys):
    assert run(["extractor", "fit", "--config", "tiny.yaml"]) == 0
    report = json.loads((config.parent / "runs/tiny/report.json").read_text())
    assert set(report) == {"extractor", "dev"}  # fit never reads test
    assert run(["extractor", "validate", "--config", "runs/tiny/config.yaml"]) == 0
    assert run(["extractor", "test", "--config", "tiny.yaml"]) == 0
    report = json.loads((config.parent / "runs/tiny/report.json").read_text())
    assert report["test"]["n"] == 6
    assert "majority class" in capsys.readouterr().out


def test_extract_fits_once_and_writes_once(config, corpus, capsys):
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run(command) == 0
    assert "fitting" in capsys.readouterr().out
    assert len(Store("store")) == len(corpus.utterances)
    assert run(command) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(["extract", "--ckpt", "runs/tiny", *command[3:]]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run([*command, "--extractor.init_args.width", "4"]) == 1
    assert "already holds a store" in capsys.readouterr().err
    assert run([*command, "--extractor.init_args.width", "4", "--overwrite"]) == 0
    assert Store("store").meta.width == 4


def test_max_failures_decides_the_exit_code(config, changed, capsys):
    manifest = changed(lambda u: u.id == "dev0_0", text=None)
    assert manifest.sha256
    folder = str(config.parent / "changed")
    command = ["extract", "--config", "tiny.yaml", "--manifest", folder, "--overwrite"]
    assert run([*command, "--out", "a", "--max-failures", "1"]) == 0
    assert "1  text: there is no transcript" in capsys.readouterr().out
    assert run([*command, "--out", "b", "--max-failures", "0"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--config"]),
        (["--config", "none.yaml"], ["none.yaml"]),
        (["--config", "tiny.yaml", "--extractor.init_args.widht", "4"], ["widht"]),
        (["--config", "tiny.yaml", "--extractor.init_args.width", "abc"], ["extractor.init_args.width", "int", "abc"]),
        (["--config", "tiny.yaml", "--extractor.init_args.scaling", "no"], ["scaling", "variance", "length"]),
        (["--config", "tiny.yaml", "--extractor.init_args.width", "0"], ["width=0"]),
        (["--config", "tiny.yaml", "--sed", "1"], ["--sed"]),
        (["--config", "tiny.yaml", "--extractor.class_path", "os.system"], ["os.system"]),
        (["--config", "tiny.yaml", "--extractor.class_path", "extractors.base.Turn"], ["no extractor"]),
        (["--config", "tiny.yaml", "--extractor.class_path", "extractors.text.none.X"], ["cannot be imported"]),
    ],
)
def test_wrong_use_is_one_message_that_names_the_key(arguments, words, config, capsys):
    assert run(["extractor", "fit", *arguments]) == 2
    message = capsys.readouterr().err
    assert len(message.strip().splitlines()) == 1
    for word in words:
        assert word in message


@pytest.mark.parametrize("content", ["extractor: os.system", "extractor: {class_path: os.system}", "- a", "a: [", ""])
def test_hostile_configurations_are_refused_before_an_import(content, config, monkeypatch, capsys):
    monkeypatch.setattr("importlib.import_module", _only_commands)
    (config.parent / "bad.yaml").write_text(content)
    assert run(["extractor", "fit", "--config", "bad.yaml"]) == 2
    assert "bad.yaml" in capsys.readouterr().err


def _only_commands(name):
    import extractors.cli

    assert name == "extractors.cli", f"imported {name}"
    return extractors.cli


def test_judging_without_a_fit_says_what_to_run(config, capsys):
    assert run(["extractor", "test", "--config", "tiny.yaml"]) == 2
    assert "m2fnet extractor fit" in capsys.readouterr().err


def test_every_shipped_extractor_is_built(corpus, capsys):
    from extractors.settings import read_settings
    from m2fnet.config import conf_folder

    files = sorted((conf_folder() / "extractors").glob("*.yaml"))
    assert files
    for path in files:
        settings = read_settings(["--config", str(path), "--manifest", str(corpus.root)], "")
        assert isinstance(settings.build(), Extractor)
        assert settings.run.name == path.stem
