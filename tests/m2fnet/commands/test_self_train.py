"""`m2fnet self-train` from the command line: its configuration, its folder, its table, its refusals."""

import json

import pytest
import yaml
from tiny_corpus import tiny_manifest, write_stores

from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.commands.self_train import parse
from m2fnet.config import conf_folder

CONFIG = "conf/self_training/meld_text.yaml"
QUICK = (
    "--training.hidden 8 --training.steps 15 --training.batch_size 16 --training.gold_share 0.5 --seeds 0-1 --folds 2"
)

FEW = "--seeds 0-1 --folds 2 --gold 30"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_stores(folder, tiny_manifest((20, 4, 5)).save(folder / "manifest"))
    return folder


@pytest.fixture
def typed(tiny, tmp_path, capsys):
    """``typed("--gold 30")`` is the exit code and what was printed."""

    def call(options="", out="out"):
        stores = json.dumps({"text": str(tiny / "text"), "audio": str(tiny / "audio")})
        given = ["--manifest", str(tiny / "manifest"), "--stores", stores, "--out", str(tmp_path / out)]
        code = run(["self-train", "--config", CONFIG, *given, *QUICK.split(), *FEW.split(), *options.split()])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


def test_the_table_and_the_report(typed, tmp_path):
    code, printed = typed("--policy [soft,top] --rounds 1")
    assert code == DONE, printed
    for words in (
        "majority class",
        "linear, from the same gold",
        "supervised (round 0)",
        "soft, round 1",
        "top, round 1",
        "all labels (upper bound)",
    ):
        assert words in printed
        assert words in (tmp_path / "out" / "report.md").read_text()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert not report["transductive"]
    assert report["split"]["gold"] <= 30
    code, again = typed("--policy [soft,top] --rounds 1")
    assert code == DONE
    assert not any(line.startswith("training ") for line in again.splitlines())
    assert again.splitlines()[-4:] == printed.splitlines()[-4:]


def test_a_transductive_report_says_so(typed, tmp_path):
    code, printed = typed("--policy [soft] --rounds 1 --transductive true")
    assert code == DONE, printed
    assert "Transductive: the pool has utterances of test" in printed
    assert "Transductive: the pool has utterances of test" in (tmp_path / "out" / "report.md").read_text()


def test_a_dry_run_makes_nothing(typed, tmp_path):
    code, printed = typed("--dry-run")
    assert code == DONE
    assert "gold utterances in folds of" in printed
    assert not (tmp_path / "out").exists()


def test_policies_are_compared_without_training_students(typed, tmp_path):
    code, printed = typed("--select-only --quiet")
    assert code == DONE
    assert "soft" in printed
    assert not (tmp_path / "out" / "soft").exists()
    assert not (tmp_path / "out" / "supervised" / "final.json").exists()


def test_gold_and_pool_may_come_from_files(typed, tmp_path):
    split = tmp_path / "out" / "split.json"
    assert typed("--select-only")[0] == DONE
    content = json.loads(split.read_text())
    gold = [name for fold in content["folds"] for name in fold]
    (tmp_path / "gold.txt").write_text("\n".join(gold))
    (tmp_path / "pool.txt").write_text("\n".join(content["pool"][:20]) + "\n\n")
    files = f"--gold null --gold_ids {tmp_path / 'gold.txt'} --pool_ids {tmp_path / 'pool.txt'}"
    code, printed = typed(f"{files} --select-only", out="other")
    assert code == DONE, printed
    found = json.loads((tmp_path / "other" / "split.json").read_text())
    assert (found["folds"], found["pool"]) == (content["folds"], content["pool"][:20])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--gold abc", "gold: expected int, but got 'abc'."),
        ("--gold 0", "gold is 0; expected a number from 1"),
        ("--gold_ids x.txt", "gold is 30; expected a number from 1, and no gold_ids with it."),
        ("--gold null --gold_ids x.txt", "Cannot read the ids in x.txt"),
        ("--polcy soft", "--polcy soft. Did you mean --policy?"),
        ("--policy [soft,hard]", "policy is ['soft', 'hard'], but policies has soft, fixed, top, free"),
        ("--policy []", "policy is []"),
        ("--seeds 3", "There is 1 seed, expected two or more"),
        ("--folds 99", "expected at least one for each of 99 folds"),
        ("--rounds 4", "rounds is 4, expected 1 to 3"),
        ("--training.dropout 2", "training: Expected"),
        ("--apart [film]", "apart"),
        ("--policies.soft.class_path os.getpid", "os.getpid"),
    ],
)
def test_what_is_wrong_is_answered_with_one_sentence(typed, options, words):
    code, printed = typed(options)
    assert code == WRONG_USE
    assert words in printed
    assert "Traceback" not in printed


def test_a_pool_file_with_a_test_utterance_is_refused(typed, tiny, tmp_path):
    (tmp_path / "pool.txt").write_text("test-0-0\n")
    code, printed = typed(f"--pool_ids {tmp_path / 'pool.txt'}")
    assert code == WRONG_USE
    assert "The pool has 1 test utterances, the first is 'test-0-0'" in printed


@pytest.mark.parametrize("path", sorted((conf_folder() / "self_training").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_configuration_says_every_setting(path):
    settings, _ = parse(["--config", str(path)])
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert vars(settings.training) == content["training"]
    assert list(settings.chosen()) == list(content["policies"])


def test_help_has_an_example(capsys):
    assert run(["self-train", "--help"]) == DONE
    assert "\n  m2fnet self-train --config conf/self_training/meld_text.yaml\n" in capsys.readouterr().out
