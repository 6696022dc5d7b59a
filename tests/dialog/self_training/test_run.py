"""Rounds in a folder: who learns from whom, what is accepted, what a kill costs, and the leaks that are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from tiny_corpus import tiny_manifest, write_stores

from dialog.self_training import run as run_module
from dialog.self_training import teachers as teachers_module
from dialog.self_training.gold import GoldLabels
from dialog.self_training.linear import linear_scores
from dialog.self_training.policies import Agreement, FixedThreshold, SoftWeights
from dialog.self_training.pseudo_labels import PseudoLabels
from dialog.self_training.report import as_json, as_page, table, warning
from dialog.self_training.run import SelfTraining, paired_gain, preview
from dialog.self_training.splits import freeze
from dialog.self_training.teachers import Teacher, out_of_fold, teach_fold
from dialog.self_training.training import Training, predict, read_inputs, train
from m2fnet.errors import RunError, StoreError, UsageError

QUICK = Training(hidden=8, dropout=0.1, lr=0.02, batch_size=16, gold_share=0.5, steps=25)
SOFT = {"soft": SoftWeights()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A tiny corpus and its stores, text and audio."""
    folder = tmp_path_factory.mktemp("tiny")
    manifest = tiny_manifest((30, 6, 8)).save(folder / "manifest")
    write_stores(folder, manifest, signal=0.8)
    return manifest, {name: str(folder / name) for name in ("text", "audio")}


@pytest.fixture
def made(corpus, tmp_path):
    """``made(**changed)`` is a self-training in a folder of this test."""
    manifest, stores = corpus

    def make(folder="out", streams=("text",), **changed):
        inputs = read_inputs(manifest, {name: stores[name] for name in streams})
        split = freeze(manifest, gold=40, folds=2)
        lines = []
        given = {"training": QUICK, "seeds": (0, 1, 2), "progress": lines.append, "split": split, **changed}
        one = SelfTraining(manifest=manifest, inputs=inputs, folder=tmp_path / folder, **given)
        return one, lines

    return make


@pytest.fixture
def always(monkeypatch):
    """Every round is accepted."""
    monkeypatch.setattr(run_module, "paired_gain", lambda *_: {"mean": 1.0, "standard_error": 0.1})


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_rounds_policies_and_bounds_are_in_the_report(made, corpus, always):
    one, _ = made()
    results = one.run({"soft": SoftWeights(), "agree": Agreement(0.5)}, rounds=2)
    shown = table(results, corpus[0])
    assert shown["what"].tolist() == [
        "majority class",
        "linear, from the same gold",
        "supervised (round 0)",
        "soft, round 1",
        "soft, round 2",
        "agree, round 1",
        "agree, round 2",
        "all labels (upper bound)",
    ]
    assert shown["test"].isna().tolist() == [False, False, False, True, False, True, False, False]
    page, content = as_page(results, corpus[0]), as_json(results, corpus[0])
    assert "Inductive: no utterance of dev or test is in the pool." in page
    assert results.split.sha256 in page
    assert content["policies"]["soft"]["accepted_round"] == 2
    json.dumps(content)


def test_networks_that_are_not_above_simple_answers_are_warned_of(made, corpus):
    results = made()[0].run(SOFT, rounds=1)
    above = replace(results, supervised=[0.9], linear={**results.linear, "gold": [0.89]})
    assert warning(above, corpus[0]) == ""
    for below in (
        replace(above, supervised=[0.89]),
        replace(above, supervised=[0.0], linear={**above.linear, "gold": [0.0]}),
    ):
        assert warning(below, corpus[0]).startswith("Warning: out of fold the supervised networks")
        assert warning(below, corpus[0]) in as_page(below, corpus[0])
    assert "linear classifier of the same gold (89.00)" in warning(replace(above, supervised=[0.5]), corpus[0])


def test_a_round_without_gain_is_the_last_and_round_0_is_the_fallback(made, corpus, monkeypatch):
    monkeypatch.setattr(run_module, "paired_gain", lambda *_: {"mean": 0.1, "standard_error": 0.1})
    one, _ = made()
    results = one.run(SOFT)
    assert [done["accepted"] for done in results.policies["soft"].rounds] == [False]
    assert results.policies["soft"].final == results.supervised_final
    assert not (one.folder / "soft" / "final.json").exists()
    assert "soft: falls back to round 0" in as_page(results, corpus[0])


def test_the_linear_classifier_learns_from_the_gold_of_the_other_folds_only(made, corpus):
    one, _ = made()
    manifest, split = corpus[0], one.split
    scores = linear_scores(one.inputs, split, manifest)
    label = {u.id: u.label for u in manifest.utterances}

    def answers(learned, asked):
        vectors = [one.inputs.vectors["text"][one.inputs.rows(ids)].numpy() for ids in (learned, asked)]
        return (
            LogisticRegression(C=0.03, max_iter=1000).fit(vectors[0], [label[u] for u in learned]).predict(vectors[1])
        )

    folds = split.folds
    by_hand = [*answers(folds[1], folds[0]), *answers(folds[0], folds[1])]
    true = [label[name] for fold in folds for name in fold]
    assert scores["gold"] == [pytest.approx(f1_score(true, by_hand, average="weighted"))]
    on_test = answers(split.gold, split.test)
    assert scores["test"] == [pytest.approx(f1_score([label[u] for u in split.test], on_test, average="weighted"))]


def test_the_linear_classifier_is_scored_once(made, corpus, always):
    one, _ = made()
    first = one.run(SOFT, rounds=1)
    path = one.folder / "linear.json"
    assert json.loads(path.read_text())["test"] == first.linear["test"]
    kept = path.stat().st_mtime_ns
    assert one.run(SOFT, rounds=1).linear == first.linear
    assert path.stat().st_mtime_ns == kept
    path.write_text(json.dumps({"split_sha256": "another", **first.linear}))
    with pytest.raises(RunError, match=r"linear.json is of another split. Remove it, and the same command"):
        one.run(SOFT, rounds=1)


def test_gold_of_one_emotion_is_refused(made, corpus):
    one, _ = made()
    alike = replace(
        corpus[0],
        utterances=tuple(replace(u, label="joy", labels=None) if u.label else u for u in corpus[0].utterances),
    )
    with pytest.raises(UsageError, match=r"gold utterances have one emotion, expected two; draw more gold"):
        linear_scores(one.inputs, one.split, alike)


def test_a_gain_is_paired_by_seed():
    gain = paired_gain([0.6, 0.5, 0.7], [0.5, 0.4, 0.6])
    assert gain["mean"] == pytest.approx(0.1)
    assert gain["standard_error"] == pytest.approx(0, abs=1e-9)
    assert paired_gain([0.6, 0.4], [0.4, 0.6])["standard_error"] == pytest.approx(0.2)


def test_students_of_a_fold_are_taught_by_its_own_teacher_only(made, always):
    one, _ = made()
    one.run(SOFT, rounds=2)
    for number in (1, 2):
        folder = one.folder / "soft" / f"round-{number}" / "labels"
        for fold in (0, 1):
            labels = PseudoLabels.load(folder / f"fold-{fold}.jsonl")
            assert labels.origin.learned_from == {1 - fold}
            assert len(labels.origin.teachers_sha256) == 1
        pool = PseudoLabels.load(folder / "pool.jsonl")
        assert pool.origin.learned_from == {0, 1}
        assert len(pool.meta.voters) == 6
        assert set(pool.ids) == set(one.split.pool)
    first = PseudoLabels.load(one.folder / "soft" / "round-1" / "labels" / "fold-0.jsonl")
    second = PseudoLabels.load(one.folder / "soft" / "round-2" / "labels" / "fold-0.jsonl")
    assert first.origin.teachers_sha256 != second.origin.teachers_sha256


def test_the_labels_of_a_fold_change_nothing_in_its_networks(made, corpus, always):
    """What a leak would do: other gold labels of fold 0 move its networks, its pseudo-labels or its students."""
    one, _ = made()
    one.run(SOFT, rounds=1)
    manifest = corpus[0]
    changed = set(one.split.folds[0])
    others = replace(
        manifest,
        utterances=tuple(
            replace(u, label="joy" if u.label != "joy" else "anger", labels=None) if u.id in changed else u
            for u in manifest.utterances
        ),
    )
    other = replace(one, manifest=others, folder=one.folder.parent / "other")
    other.freeze()
    teachers = other.teachers()
    for path in ("supervised/fold-0.safetensors",):
        assert (one.folder / path).read_bytes() == (other.folder / path).read_bytes()
    assert (one.folder / "supervised/fold-1.safetensors").read_bytes() != (
        other.folder / "supervised/fold-1.safetensors"
    ).read_bytes()
    mine = one.labels(one.teachers(), SoftWeights(), "soft", fold=0, round_=1)
    theirs = other.labels(teachers, SoftWeights(), "soft", fold=0, round_=1)
    assert np.array_equal(mine.probabilities.argmax(1), theirs.probabilities.argmax(1))


def test_labels_of_the_pool_and_of_what_is_scored_teach_nobody(made, corpus, always):
    one, _ = made()
    one.run(SOFT, rounds=1)
    manifest, gold = corpus[0], set(one.split.gold)
    blind = replace(
        manifest,
        utterances=tuple(
            u if u.id in gold or u.label is None else replace(u, label="neutral", labels=None)
            for u in manifest.utterances
        ),
    )
    other = replace(one, manifest=blind, folder=one.folder.parent / "other")
    other.run(SOFT, rounds=1)
    for name in ("supervised/fold-1", "supervised/final", "soft/round-1/fold-0", "soft/final"):
        assert (one.folder / f"{name}.safetensors").read_bytes() == (other.folder / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize("killed_at", [1, 3, 4, 6, 7, 8])
def test_the_same_command_resumes_and_trains_nothing_twice(made, always, monkeypatch, killed_at):
    whole, _ = made("whole")
    expected = whole.run(SOFT, rounds=2)
    calls = 0

    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == killed_at:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    for module in (teachers_module, run_module):
        monkeypatch.setattr(module, "train", counted)
    one, lines = made()
    with pytest.raises(KeyboardInterrupt):
        one.run(SOFT, rounds=2)
    assert one.run(SOFT, rounds=2) == expected
    assert calls == 9 + 1  # 2 folds of 3 rounds, three final ones, and the one that was killed
    assert files(one.folder) == files(whole.folder)
    del lines[:]
    assert one.run(SOFT, rounds=2) == expected
    assert not [line for line in lines if line.startswith("training")]


def test_a_policy_is_added_without_training_what_is_there(made, always):
    one, lines = made()
    one.run(SOFT, rounds=1)
    del lines[:]
    one.run({"agree": Agreement(0.5), **SOFT}, rounds=1)
    trained = [line for line in lines if line.startswith("training")]
    assert trained
    assert all("agree" in line for line in trained)


def test_streams_vote_where_there_are_several(made):
    one, _ = made(streams=("text", "audio"))
    labels = one.labels(one.teachers(), Agreement(1.0), "agree", fold=0, round_=1)
    assert labels.meta.voters == ("text", "audio")
    assert (labels.votes.sum(1) == 2).all()
    mask = labels.selection.mask
    assert 0 < mask.sum() < len(mask)
    pool = one.labels(one.teachers(), Agreement(0.5), "agree", fold=None, round_=1)
    assert len(pool.meta.voters) == 4
    assert (pool.votes.sum(1) == 4).all()


def test_selection_is_compared_without_training(made):
    one, lines = made()
    one.freeze()
    labels = one.labels(one.teachers(), SoftWeights(), "soft", fold=None, round_=1)
    del lines[:]
    counts = preview(labels, {"soft": SoftWeights(), "agree": Agreement(1.0)})
    assert counts["soft"]["selected"] == len(one.split.pool) >= counts["agree"]["selected"]
    assert not lines


def test_students_of_nothing_are_refused(made):
    one, _ = made()
    with pytest.raises(
        UsageError, match=r"The policy fixed: FixedThreshold.* selects none of .* highest confidence is 0"
    ):
        one.run({"fixed": FixedThreshold(1.0)})


def test_networks_of_no_gold_are_refused(made):
    one, _ = made()
    with pytest.raises(UsageError, match="There is no gold utterance to learn from"):
        train(one.inputs, GoldLabels((), (), one.manifest.label_set.classes), one.seeds, QUICK)


def test_a_batch_has_its_share_of_gold_and_pseudo_labels_are_learned(made, monkeypatch):
    one, _ = made()
    labels = one.labels(one.teachers(), SoftWeights(), "soft", fold=None, round_=1)
    gold, pool = (set(one.inputs.rows(ids).tolist()) for ids in (one.split.gold, one.split.pool))
    seen = []
    step = run_module.train.__globals__["FusionStack"].step
    monkeypatch.setattr(
        run_module.train.__globals__["FusionStack"],
        "step",
        lambda stack, rows, *more: (seen.append(rows.clone()), step(stack, rows, *more))[1],
    )
    stack = train(one.inputs, GoldLabels.of(one.manifest, one.split.gold), one.seeds, QUICK, labels)
    assert all(sum(int(row) in gold for row in own) == 8 for rows in seen for own in rows)
    assert {int(row) for rows in seen for row in rows.flatten()} - gold == pool
    answers = predict(stack, one.inputs.rows(one.split.pool)).argmax(-1)
    assert (answers == labels.selection.label).mean() > 0.7


def test_a_teacher_that_has_learned_its_fold_is_refused(made):
    one, _ = made()
    good = one.teachers()[0]
    with pytest.raises(UsageError, match="The teacher of fold 0 has learned from fold 0, by its labels or by pseudo"):
        replace(good, learned_from=frozenset({0, 1}))
    assert isinstance(good, Teacher)


@pytest.mark.parametrize("leak", ["gold", "pseudo-labels"])
def test_networks_of_a_fold_are_not_taught_by_it(made, leak):
    one, _ = made()
    teachers = one.teachers()
    folds = [0, 1] if leak == "gold" else [1]
    of_all = one.labels(teachers, SoftWeights(), "soft", fold=None, round_=1)
    with pytest.raises(UsageError, match="The networks of fold 0 would learn from fold 0"):
        teach_fold(
            one.inputs,
            one.split,
            GoldLabels.of(one.manifest, one.split.gold_of(folds)),
            0,
            one.seeds,
            QUICK,
            None if leak == "gold" else of_all,
            one.folder / "leak.safetensors",
        )
    assert not (one.folder / "leak.safetensors").exists()


def test_answers_are_scored_with_the_gold_of_the_split_only(made):
    one, _ = made()
    pool = GoldLabels.of(one.manifest, list(one.split.dev))
    with pytest.raises(UsageError, match="Expected the gold utterances of the split"):
        out_of_fold(one.teachers(), one.split, pool)


def test_other_folds_in_the_same_folder_are_refused(made, corpus):
    one, _ = made()
    one.teachers()
    one.freeze()
    other, _ = made(split=freeze(corpus[0], gold=40, folds=3))
    with pytest.raises(UsageError, match="folds and pool must not change between rounds"):
        other.run(SOFT)


def test_folds_that_were_changed_in_the_file_are_refused(made):
    one, _ = made()
    one.freeze()
    path = one.folder / "split.json"
    path.write_text(path.read_text().replace(one.split.folds[0][0], one.split.pool[0], 1))
    with pytest.raises(RunError, match="was changed after the split was frozen"):
        one.run(SOFT)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"training": replace(QUICK, steps=26)},
            r"was made with training\.steps 25, not 26\. Take another folder",
        ),
        ({"seeds": (0, 1)}, r"was made with seeds \[.*\], not \[0, 1\]\. Take"),
        ({"streams": ("audio",)}, r"was made with stores_sha256\.text \w{64}, not None\."),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(made, changed, words):
    made()[0].freeze()
    with pytest.raises(UsageError, match=words):
        made(**changed)[0].run(SOFT)


def test_another_policy_of_the_same_name_is_refused(made, always):
    one, _ = made()
    one.run(SOFT, rounds=1)
    with pytest.raises(UsageError, match=r"has rounds of soft: SoftWeights\(gamma=1.0\), but the policy is now"):
        one.run({"soft": SoftWeights(2.0)})


@pytest.mark.parametrize("name", ["supervised", "all_labels", "a/b", "..", ""])
def test_a_policy_whose_name_is_no_folder_is_refused(made, name):
    with pytest.raises(UsageError, match="expected a word that is the name of a folder"):
        made()[0].run({name: SoftWeights()})


@pytest.mark.parametrize(
    ("changed", "rounds", "words"),
    [({"seeds": (0,)}, 1, "There is 1 seed, expected two or more"), ({}, 4, "rounds is 4, expected 1 to 3")],
)
def test_numbers_out_of_range_are_refused(made, changed, rounds, words):
    with pytest.raises(UsageError, match=words):
        made(**changed)[0].run(SOFT, rounds=rounds)


def test_networks_that_were_changed_are_refused(made):
    one, _ = made()
    one.teachers()
    path = one.folder / "supervised" / "fold-0.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(RunError, match="is of another training: its sha256 is"):
        one.teachers()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gold_share": 1.0}, "training has batch_size 128, gold_share 1.0"),
        ({"gold_share": 0.001}, "expected batches with gold rows and others"),
        ({"steps": 0}, "steps 0"),
        ({"dropout": 1.0}, "training: Expected .* dropout from 0 to below 1"),
        ({"modality_dropout": 1.0}, "training.modality_dropout is 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Training(**settings)


def test_embeddings_are_centred_and_scaled_by_the_training_split(corpus):
    manifest, stores = corpus
    rows = [number for number, u in enumerate(manifest.utterances) if u.split == "train"]
    standard, scaled = (read_inputs(manifest, stores, norm).vectors["text"][rows] for norm in ("standard", "scale"))
    assert standard.std(0, correction=0).tolist() == pytest.approx([1] * 12, abs=1e-4)
    assert scaled.square().mean().item() == pytest.approx(1, abs=1e-4)
    assert scaled.mean(0).tolist() == pytest.approx([0] * 12, abs=1e-4)
    assert scaled.std(0).max() > 1.05


def test_a_store_of_another_manifest_is_refused(corpus):
    manifest, stores = corpus
    with pytest.raises(StoreError, match="was made for the manifest"):
        read_inputs(replace(manifest, sha256="other"), stores)
    with pytest.raises(UsageError, match="stores is empty"):
        read_inputs(manifest, {})
