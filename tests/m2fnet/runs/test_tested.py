import json

import numpy as np
import pytest
import yaml
from made_runs import made_manifest, made_run
from sklearn.metrics import f1_score

from m2fnet.errors import M2FNetError, UsageError
from m2fnet.metrics.scores import weighted_f1
from m2fnet.runs.tested import collect, manifest_of, read_predictions, what_differs

WIDTHS = ((1, ["text"]), (2, ["text"]), (3, ["audio"]))


def changed(path, change):
    """Let ``change`` alter what is in the JSON file ``path``."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_runs_that_differ_only_in_the_seed_become_one_setting_in_the_order_of_their_seeds(tested):
    runs = [tested(f"a/seed-{n}", seed=n) for n in (2, 0, 1)]
    (setting,) = collect(runs)
    assert setting.seeds == [0, 1, 2]
    assert setting.name == str(runs[0].parent)
    counts = setting.counts()
    for run, found in zip(setting.runs, weighted_f1(counts.sum(1)), strict=True):
        rows = [json.loads(line) for line in (run.folder / "predictions.jsonl").read_text("utf-8").splitlines()]
        labels, answers = [row["label"] for row in rows], [row["predicted"] for row in rows]
        assert found == pytest.approx(f1_score(labels, answers, average="weighted"))
    assert (counts.support == counts[0].support).all()  # every run has the same labels in every dialogue


def test_counts_of_some_utterances_hold_no_others(tested):
    (setting,) = collect([tested("a/seed-0")])
    ids = [p.id for p in setting.runs[0].predictions][:5]
    assert setting.counts(ids).n.sum() == 5
    assert setting.counts([]).shape == (1, 0)
    run = setting.runs[0]
    assert run.confusion().sum() == run.counts().n.sum()
    assert run.confusion().diagonal().sum() == run.counts().exact.sum()


def test_a_report_that_had_every_score_twice_is_still_read(tested):
    folder = tested("a/seed-0")
    before = collect([folder])
    flat = {
        f"{split}.{key}": value for split in ("dev", "test") for key, value in before[0].runs[0].report[split].items()
    }
    changed(folder / "report.json", lambda report: report.pop("kind") and report.update(flat))
    (setting,) = collect([folder])
    assert setting.kind == "single"
    assert setting.counts().values.tolist() == before[0].counts().values.tolist()


def test_runs_that_differ_in_a_setting_stay_apart_in_the_order_given(tested):
    wide = [tested(f"wide-{n}", seed=n, width=16) for n in range(2)]
    narrow = [tested(f"narrow-{n}", seed=n) for n in range(2)]
    found = collect([wide[0], narrow[0], narrow[1], wide[1]])
    assert [[run.folder for run in setting.runs] for setting in found] == [wide, narrow]
    assert [setting.name for setting in found] == [str(wide[0]), str(narrow[0])]


def test_how_a_command_was_run_makes_no_other_setting(tested):
    runs = [tested(f"a/seed-{n}", seed=n) for n in range(2)]
    config = yaml.safe_load((runs[1] / "config.yaml").read_text(encoding="utf-8"))
    config["trainer"]["enable_progress_bar"] = False
    (runs[1] / "config.yaml").write_text(yaml.safe_dump(config | {"quiet": True}), encoding="utf-8")
    assert len(collect(runs)) == 1


def test_what_differs_is_told_for_every_setting(tested):
    settings = collect([tested(f"{n}/seed-{s}", width=n, seed=s, modalities=m) for n, m in WIDTHS for s in range(2)])
    width, modalities = "model.net.init_args.width", "data.streams"
    assert list(what_differs(settings).values()) == [
        {width: "1", modalities: "['text']"},
        {width: "2", modalities: "['text']"},
        {width: "3", modalities: "['audio']"},
    ]
    assert what_differs(settings[:1]) == {settings[0].name: {}}


def test_the_same_seed_twice_in_one_setting_is_refused(tested):
    runs = [tested("a/one", seed=4), tested("a/two", seed=4)]
    with pytest.raises(UsageError, match=r"Two runs of one setting have the same seed \[4, 4\]: .*one, .*two\."):
        collect(runs)


def test_runs_of_one_setting_on_different_manifests_are_refused(tested):
    runs = [tested("a/seed-0", seed=0), tested("a/seed-1", seed=1)]
    changed(runs[1] / "report.json", lambda report: report.update(manifest_sha256="cd"))
    with pytest.raises(UsageError, match=r"come from different manifests: .*seed-0, .*seed-1"):
        collect(runs)


def test_only_like_is_compared_with_like(tested, tmp_path):
    first = tested("a/seed-0")

    def other(place, **settings):
        manifest = made_manifest(tmp_path / f"data_{place}", **settings)
        return made_run(tmp_path / place, manifest, tmp_path / f"data_{place}")

    refused = "Only like is compared with like"
    with pytest.raises(UsageError, match=rf"seed-0 and .*corpus have different corpora: tiny and huge\. {refused}"):
        collect([first, other("corpus", name="huge")])
    with pytest.raises(
        UsageError, match=rf"seed-0 and .*labels have different label sets: .*anger.* and .*rage.*{refused}"
    ):
        collect([first, other("labels", classes=("neutral", "joy", "rage"))])
    with pytest.raises(
        UsageError, match=r"seed-0 and .*more were tested on different utterances or labels: \d+ and \d+ utterances"
    ):
        collect([first, other("more", dialogues=15)])
    relabelled = tested("relabelled", width=9)
    path = relabelled / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    rows[0]["label"] = rows[0]["predicted"] = next(name for name in ("joy", "anger") if name != rows[0]["label"])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    score = f1_score([row["label"] for row in rows], [row["predicted"] for row in rows], average="weighted")
    changed(relabelled / "report.json", lambda report: report["test"].update({"weighted_f1": score}))
    with pytest.raises(UsageError, match=rf"of which 1 differ, the first is '{rows[0]['id']}'"):
        collect([first, relabelled])


def test_a_run_that_was_not_tested_is_refused_with_what_to_do(tested):
    for name in ("report.json", "predictions.jsonl"):
        folder = tested(f"without-{name}")
        (folder / name).unlink()
        with pytest.raises(
            UsageError, match=rf"{name}.*Test the run first: `m2fnet dialog test --config .*config\.yaml`"
        ):
            collect([folder])


def test_a_report_of_something_else_is_refused(tested):
    folder = tested("a/seed-0")
    (folder / "report.json").write_text('{"seed": 0}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"is not a report of `m2fnet dialog test`.*lacks corpus, .*dev, test"):
        collect([folder])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("corpus", 3),
        ("manifest_sha256", {}),
        ("seed", "x"),
        ("test", []),
        ("test", {"majority_class": "x"}),
        ("classes", "joy"),
        ("modalities", [1]),
        ("dev", {"weighted_f1": None}),
    ],
)
def test_a_damaged_report_is_refused_with_the_key(tested, key, value):
    folder = tested("a/seed-0")
    changed(folder / "report.json", lambda report: report.update({key: value}))
    with pytest.raises(UsageError, match=rf"report\.json is damaged: .*{key}"):
        collect([folder])


def test_predictions_of_another_test_than_the_reports_are_refused(tested):
    one, two = tested("one", seed=0), tested("two", seed=1)
    (one / "predictions.jsonl").write_bytes((two / "predictions.jsonl").read_bytes())
    with pytest.raises(
        UsageError, match=r"says a weighted F1 of .*, but its predictions\.jsonl gives .*not come from one"
    ):
        collect([one])


@pytest.mark.parametrize(
    "change",
    [
        {"id": 3},
        {"label": None},
        {"predicted": "rage"},
        {"probabilities": {"neutral": 1.0}},
        {"probabilities": {"neutral": 0.5, "joy": 0.1, "anger": 0.1}},
        {"probabilities": {"neutral": float("nan"), "joy": 0.5, "anger": 0.5}},
        {"probabilities": {"neutral": "1", "joy": 0, "anger": 0}},
        {"probabilities": [1, 0, 0]},
    ],
)
def test_a_line_that_is_no_prediction_is_refused_with_its_number(tested, change):
    folder = tested("a/seed-0")
    path = folder / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | change)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"predictions\.jsonl:3 is not a prediction; expected id, .* neutral, joy, anger"
    ):
        collect([folder])


def test_an_utterance_predicted_twice_and_an_empty_file_are_refused(tested):
    folder = tested("a/seed-0")
    path = folder / "predictions.jsonl"
    text = path.read_text(encoding="utf-8")
    for damaged in (text + text.splitlines()[0] + "\n", ""):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(UsageError, match="holds no prediction, or two of one utterance"):
            collect([folder])


def test_predictions_of_both_splits_are_sorted_by_id(tested, corpus):
    folder = tested("a/seed-0")
    for split in ("dev", "test"):
        found = [p.id for p in read_predictions(folder, split, ("neutral", "joy", "anger"))]
        assert found == sorted(found)
        assert all(name.startswith(split) for name in found)


@pytest.mark.parametrize("content", ["", "- 1", "a: [", None])
def test_a_folder_that_is_no_run_is_refused(tested, content):
    folder = tested("a/seed-0")
    (folder / "config.yaml").unlink()
    if content is not None:
        (folder / "config.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(M2FNetError, match="is not a run folder: "):
        collect([folder])


def test_a_folder_of_runs_is_refused_with_the_way_to_name_them(tested):
    folder = tested("a/seed-0").parent
    with pytest.raises(UsageError, match=r"a is not a run, but holds runs; name those: .*a/seed-\*\.$"):
        collect([folder])


def test_the_manifest_is_found_where_the_run_says_or_where_one_says(tested, corpus, tmp_path):
    settings = collect([tested("a/seed-0")])
    assert manifest_of(settings).sha256 == settings[0].runs[0].report["manifest_sha256"]
    elsewhere = tmp_path / "elsewhere"
    corpus.rename(elsewhere)
    with pytest.raises(
        UsageError, match=r"The manifest of .*seed-0 is not at .*data\. Name the folder .* --manifest DIR"
    ):
        manifest_of(settings)
    assert manifest_of(settings, elsewhere).corpus == "tiny"


def test_another_manifest_is_refused(tested, tmp_path):
    settings = collect([tested("a/seed-0")])
    made_manifest(tmp_path / "other", dialogues=13)
    with pytest.raises(UsageError, match=r"The manifest in .*other has SHA-256 .*, but .*seed-0 was tested on"):
        manifest_of(settings, tmp_path / "other")


def test_a_configuration_without_data_names_no_manifest(tested):
    folder = tested("a/seed-0")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"data": 3}), encoding="utf-8")
    with pytest.raises(UsageError, match="--manifest DIR"):
        manifest_of(collect([folder]))
    assert np.isfinite(collect([folder])[0].counts().values).all()


def test_settings_with_runs_in_one_folder_keep_names_that_tell_them_apart(tested):
    runs = [tested(f"a/seed-{n}", seed=n, width=width) for n, width in enumerate((8, 16))]
    assert [setting.name for setting in collect(runs)] == [str(folder) for folder in runs]
