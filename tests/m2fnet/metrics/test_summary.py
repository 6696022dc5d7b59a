import json
import math

import pytest
import yaml

from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.errors import M2FNetError, UsageError
from m2fnet.metrics.summary import as_table, collect


@pytest.fixture
def tested(tmp_path):
    """``tested("a/seed-0", seed=0, weighted_f1=0.5, width=8)`` makes a run folder as `dialog test` leaves it."""

    def make(name, *, seed, weighted_f1=0.5, width=8, manifest="ab", classes=("joy", "anger")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        config = {
            "seed_everything": seed,
            "trainer": {"max_epochs": 3, "default_root_dir": str(folder)},
            "model": {"net": {"class_path": "dialog.models.m2fnet.M2FNet", "init_args": {"width": width}}},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        scores = {"weighted_f1": weighted_f1, "accuracy": 0.6, "macro_f1": 0.4}
        report = {
            **{f"test.{key}": value for key, value in scores.items()},
            "dev.weighted_f1": 0.55,
            "seed": seed,
            "corpus": "tiny",
            "manifest_sha256": manifest,
            "modalities": ["text", "audio"],
            "select": "dev",
            "classes": list(classes),
            "test": {
                "n": 20,
                "majority_weighted_f1": 0.31,
                "per_class": {name: {"f1": weighted_f1} for name in classes},
            },
        }
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
        return folder

    return make


def test_runs_that_differ_in_the_seed_alone_become_their_mean_and_deviation(tested):
    scores = (0.50, 0.54, 0.61)
    runs = [tested(f"a/seed-{n}", seed=n, weighted_f1=score) for n, score in enumerate(scores)]
    (setting,) = collect(runs)
    found = setting.as_dict()
    mean = (0.50 + 0.54 + 0.61) / 3
    deviation = math.sqrt(sum((score - mean) ** 2 for score in scores) / 2)
    assert found["test.weighted_f1"] == {"mean": pytest.approx(mean), "sd": pytest.approx(deviation)}
    assert found["test.accuracy"] == {"mean": pytest.approx(0.6), "sd": pytest.approx(0)}
    assert found["per_class_f1"]["joy"]["mean"] == pytest.approx(mean)
    assert found["seeds"] == [0, 1, 2]
    assert found["setting"] == str(runs[0].parent)
    table = as_table([setting])
    assert f"| {runs[0].parent} | tiny (n = 20) | text + audio | 3 | 55.00 ± 5.57 | 60.00 ± 0.00 |" in table
    assert "31.00" in table
    assert "not comparable" not in table


def test_one_seed_has_no_deviation(tested):
    (setting,) = collect([tested("a/seed-0", seed=0)])
    assert setting.as_dict()["test.weighted_f1"] == {"mean": 0.5, "sd": None}
    assert "| 1 | 50.00 | 60.00 | 40.00 | 55.00 | 31.00 |" in as_table([setting])


def test_runs_that_differ_in_a_setting_stay_apart_in_the_order_given(tested):
    wide = [tested(f"wide-{n}", seed=n, width=16) for n in range(2)]
    narrow = [tested(f"narrow-{n}", seed=n) for n in range(2)]
    found = collect([wide[0], narrow[0], narrow[1], wide[1]])
    assert [setting.runs for setting in found] == [tuple(wide), tuple(narrow)]
    assert [setting.name for setting in found] == [str(wide[0]), str(narrow[0])]


def test_the_same_seed_twice_in_one_setting_is_refused(tested):
    runs = [tested("a/one", seed=4), tested("a/two", seed=4)]
    with pytest.raises(UsageError, match=r"Two runs of one setting have the same seed \[4, 4\]: .*one, .*two\."):
        collect(runs)


def test_runs_of_one_setting_on_different_manifests_are_refused(tested):
    runs = [tested("a/seed-0", seed=0), tested("a/seed-1", seed=1, manifest="cd")]
    with pytest.raises(UsageError, match=r"come from different manifests: .*seed-0, .*seed-1"):
        collect(runs)


def test_settings_on_different_manifests_are_noted(tested):
    runs = [tested("a/seed-0", seed=0), tested("b/seed-0", seed=0, width=9, manifest="cd", classes=("joy", "fear"))]
    table = as_table(collect(runs))
    assert "different manifests: their scores are not comparable" in table
    assert "| F1 per class on test | joy | anger |" in table
    assert "| F1 per class on test | joy | fear |" in table


def test_a_run_that_was_not_tested_is_refused_with_what_to_do(tested):
    folder = tested("a/seed-0", seed=0)
    (folder / "report.json").unlink()
    with pytest.raises(UsageError, match=r"Test the run first: `m2fnet dialog test --config .*config\.yaml`"):
        collect([folder])


def test_a_report_that_lacks_its_scores_is_refused(tested):
    folder = tested("a/seed-0", seed=0)
    (folder / "report.json").write_text('{"seed": 0}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"report\.json lacks corpus, .*test\.weighted_f1.* Test the run first"):
        collect([folder])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(M2FNetError, match="is no run folder: cannot read its config"):
        collect([tmp_path])


def test_the_command_prints_the_table_and_writes_it_beside_the_runs(tested, tmp_path, capsys):
    runs = [tested(f"a/seed-{n}", seed=n, weighted_f1=0.5 + n / 10) for n in range(2)]
    assert run(["report", *map(str, runs)]) == DONE
    told = capsys.readouterr().out
    table = (tmp_path / "a" / "summary.md").read_text(encoding="utf-8")
    assert table in told
    assert "55.00 ± 7.07" in table
    (setting,) = json.loads((tmp_path / "a" / "summary.json").read_text(encoding="utf-8"))["settings"]
    assert setting["seeds"] == [0, 1]
    assert run(["report", str(runs[0]), "--out", str(tmp_path / "elsewhere")]) == DONE
    assert (tmp_path / "elsewhere" / "summary.md").is_file()


def test_exit_codes_of_the_command(tested, tmp_path, capsys):
    folder = tested("a/seed-0", seed=0)
    assert run(["report"]) == WRONG_USE
    assert run(["report", "--help"]) == DONE
    assert run(["report", str(tmp_path / "nowhere")]) == FAILED
    assert run(["report", str(folder), str(folder)]) == WRONG_USE
    assert "same seed" in capsys.readouterr().err
    (folder / "report.json").unlink()
    assert run(["report", str(folder)]) == WRONG_USE
    assert capsys.readouterr().err.startswith("m2fnet report: Cannot read ")
