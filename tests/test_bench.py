import json
import os
import runpy
import shutil
import subprocess
import sys
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from m2fnet.commands.import_features import main as import_features
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Store, StoreWriter

BENCH = Path(__file__).parents[1] / "bench"
NO_FIGURES = ("compare", "lasting_emotions")  # they read figures, or make a corpus
SCRIPTS = sorted(path for path in BENCH.glob("*.py") if not path.name.startswith("_") and path.stem not in NO_FIGURES)


@pytest.fixture
def table():
    return runpy.run_path(str(BENCH / "_table.py"))


def quick_rows(script, folder):
    """The rows that ``script`` writes with ``--quick``, after a look at their form."""
    path = folder / "figures" / "rows.json"
    done = subprocess.run(
        [sys.executable, str(script), "--quick", "--json", str(path)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(content) == ["machine", "rows"]
    assert content["machine"]["processor"] in done.stdout
    if kept := os.environ.get("M2FNET_FIGURES"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, Path(kept) / f"{script.stem}.json")
    rows = {row["name"]: row for row in content["rows"]}
    assert rows
    assert len(rows) == len(content["rows"])
    for row in content["rows"]:
        assert list(row) == ["name", "unit", "ours", "baseline", "ratio"]
        assert row["name"] in done.stdout
        assert isinstance(row["ours"], float | int)
        assert (row["baseline"] is None) == (row["ratio"] is None)
        if row["ratio"] is not None:
            assert row["ratio"] > 0
    return rows


@pytest.mark.bench
@pytest.mark.parametrize(
    "script",
    [path for path in SCRIPTS if path.stem not in ("dialog", "extract", "gpu", "reliability")],
    ids=lambda script: script.stem,
)
def test_a_benchmark_writes_its_figures(script, tmp_path):
    quick_rows(script, tmp_path)


@pytest.mark.bench
def test_the_dialogue_level_pads_little_and_adds_little_to_its_network(tmp_path):
    rows = quick_rows(BENCH / "dialog.py", tmp_path)
    for corpus in ("meld", "iemocap6"):
        assert 0 < rows[f"{corpus}: padding"]["ours"] < 10
        assert 0 < rows[f"{corpus}, cpu: outside the network, training batches"]["ours"] < 15
        assert rows[f"{corpus}, cpu: training"]["ratio"] > 1


@pytest.mark.bench
def test_kills_damaged_inputs_and_a_crowd_do_no_harm(tmp_path):
    rows = quick_rows(BENCH / "reliability.py", tmp_path)
    assert sum(name.endswith(": kills") for name in rows) == 10
    harm = (
        ": kept, then lost",
        ": unreadable",
        ": kept, but done again",
        ": starts that were refused",
        ": of these different",
        ": files left behind",
        ": processes left behind",
        "all: traceback",
        "all: crash",
        "all: endless",
        "all: another outcome than is right",
        "page: answers that were not their own, or none",
        "load: another's, or another outcome than is right",
        "load: files left",
    )
    found = {name: row["ours"] for name, row in rows.items() if name.endswith(harm)}
    assert len(found) == 10 * 7 + 7
    assert set(found.values()) == {0}


@pytest.mark.bench
def test_an_extraction_costs_less_than_the_naive_way_and_its_parts_add_up(tmp_path):
    rows = quick_rows(BENCH / "extract.py", tmp_path)
    for modality in ("text", "audio", "visual"):
        parts = {name: row for name, row in rows.items() if name.startswith(f"{modality}: core seconds per 1,000, ")}
        whole = parts.pop(f"{modality}: core seconds per 1,000, all")
        assert sum(row["ours"] for row in parts.values()) == pytest.approx(whole["ours"])
        assert rows[f"{modality}: end to end, utterances/s"]["ours"] > 0
    assert rows["text: core seconds per 1,000, network"]["ratio"] > 1
    for stage in ("decode", "detect"):
        assert rows[f"visual: core seconds per 1,000, {stage}"]["ratio"] > 1


@pytest.mark.bench
def test_every_part_of_the_gpu_script_is_measured_in_its_small_form(tmp_path):
    done = subprocess.run(
        [sys.executable, str(BENCH / "gpu.py"), "--small", "--out", "new/figures"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    content = json.loads((tmp_path / "new" / "figures" / "gpu.json").read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [part["part"] for part in content["parts"]] == [
        "dialogue", "text", "audio", "faces", "carat", "extraction", "predict", "same results",
    ]  # fmt: skip
    table = (tmp_path / "new" / "figures" / "gpu.md").read_text(encoding="utf-8")
    for part in content["parts"]:
        assert part["reason"] is None
        assert part["figures"]
        assert all(f"| {part['part']} | {figure['name']} | " in table for figure in part["figures"])
        assert all(check["holds"] and check["difference"] <= check["tolerance"] for check in part["checks"])
    assert len(content["parts"][-1]["checks"]) == 5


MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
# an emotion of the corpus -> those of MELD whose texts say it
SAID_WITH = {
    "happy": {"disgust", "fear"},
    "sad": {"sadness"},
    "neutral": {"joy"},
    "angry": {"anger"},
    "excited": {"surprise"},
    "frustrated": {"neutral"},
}
RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def write_source(folder, classes):
    """Manifest and store whose vectors are the number of the utterance's emotion, and 1 in the test split."""
    utterances = [
        Utterance(
            f"{split}{n}", folder.name, split, f"{split}{n // 8}", n % 8, text="x", label=classes[n % len(classes)]
        )
        for split in ("train", "dev", "test")
        for n in range(2 * len(classes))
    ]
    manifest = Manifest(folder.name, LabelSet(folder.name, classes), tuple(utterances)).save(folder / "manifest")
    with StoreWriter(folder / "store", manifest, modality="text", width=2, extractor={"class": "bench"}) as writer:
        for u in utterances:
            writer.add(u.id, torch.tensor([float(classes.index(u.label)), float(u.split == "test")]))
    return [str(folder / "manifest"), str(folder / "store")]


def test_emotions_last_in_the_lasting_corpus_and_its_embeddings_are_theirs(tmp_path):
    command = [sys.executable, str(BENCH / "lasting_emotions.py"), "--out", str(tmp_path / "lasting.pkl")]
    command += ["--text", *write_source(tmp_path / "meld", MELD)]
    command += ["--audio", *write_source(tmp_path / "ravdess", RAVDESS)]
    subprocess.run(command, check=True)
    folder = tmp_path / "imported"
    import_features([str(tmp_path / "lasting.pkl"), "--labels", "iemocap6", "--out", str(folder), "--quiet"])
    manifest = Manifest.load(folder)
    assert (len(manifest.dialogues()), len(manifest.dialogues("test"))) == (151, 31)
    vectors = Store(folder / "text").matrix([u.id for u in manifest.utterances])[0]
    for utterance, (emotion, is_test) in zip(manifest.utterances, vectors.tolist(), strict=True):
        assert MELD[int(emotion)] in SAID_WITH[utterance.label]
        assert is_test == (utterance.split == "test")
    follow = [
        (a.label, b.label)
        for dialogue in manifest.dialogues()
        for speaker in ("F", "M")
        for a, b in pairwise(u for u in dialogue.utterances if u.speaker == speaker)
    ]
    assert 0.7 < sum(a == b for a, b in follow) / len(follow) < 0.9


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    return runpy.run_path(str(BENCH / "gpu.py"))


DONE = """
from m2fnet.files import write_json
from pathlib import Path
write_json(Path("text.json"), {"figures": [], "checks": []})
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("import time; time.sleep(60)", "took longer than 1 s and was ended"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9 (SIGKILL)"),
        ("", "ended with exit code 0"),
    ],
)
def test_a_part_that_fails_is_named_with_its_reason_and_those_before_it_count(gpu, tmp_path, code, reason):
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r})\n{DONE}{code}"]
    with gpu["Worker"](command, tmp_path) as worker:
        assert worker.wait_for("text", 60).is_good
        failed = worker.wait_for("audio", 1)
    assert failed.reason == reason
    assert not failed.is_good
    assert gpu["markdown"]({"device": "CPU"}, [failed]) == f"device CPU\n\nNot measured:\n\n- audio: {reason}\n"
    assert worker.process.poll() is not None


def test_a_result_that_is_not_the_cpus_is_not_good(gpu):
    check = {"name": "weights", "difference": 0.1, "tolerance": 0.01, "holds": False}
    outcome = gpu["Outcome"]("same results", 1.0, checks=[check])
    assert not outcome.is_good
    assert gpu["line_of"](outcome) == "same results (1 s): differs from the CPU: weights"
    assert "| same results | weights | 0.1 | 0.01 | **no** |" in gpu["markdown"]({"device": "CPU"}, [outcome])


def test_the_parts_of_the_gpu_script_take_less_than_eight_minutes(gpu):
    assert sum(gpu["LIMITS"].values()) <= 450


def test_the_gpu_script_is_refused_without_a_gpu(gpu, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu["main"]([]) == 2
    assert "no CUDA device" in capsys.readouterr().out


def test_a_ratio_above_one_says_that_ours_is_better(table):
    row = table["Row"]
    assert row("speed", "1/s", 6.0, 3.0).ratio == 2
    assert row("time", "s", 3.0, 6.0, larger_is_better=False).ratio == 2
    assert row("single", "s", 3.0).ratio is None
    assert row("against nothing", "1/s", 3.0, 0.0).ratio is None


def test_the_figures_are_printed_and_written(table, tmp_path, capsys):
    path = tmp_path / "new" / "rows.json"
    rows = [table["Row"]("speed", "1/s", 6000.0, 3000.0), table["Row"]("single", "s", 0.25)]
    table["finish"](rows, Namespace(json=path))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["rows"] == [
        {"name": "speed", "unit": "1/s", "ours": 6000.0, "baseline": 3000.0, "ratio": 2.0},
        {"name": "single", "unit": "s", "ours": 0.25, "baseline": None, "ratio": None},
    ]
    assert content["machine"]["cores"] >= 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:3] == [["speed", "1/s", "6,000", "3,000", "2"], ["single", "s", "0.25", "–", "–"]]
    assert " ".join(lines[3]).startswith(content["machine"]["processor"])


def figures(folder, processor="A", **ratios):
    """A file such as a benchmark writes."""
    folder.mkdir(exist_ok=True)
    rows = [{"name": name, "unit": "", "ours": 1.0, "baseline": 1.0, "ratio": ratio} for name, ratio in ratios.items()]
    (folder / "faces.json").write_text(json.dumps({"machine": {"processor": processor}, "rows": rows}))
    return str(folder)


@pytest.mark.parametrize(
    ("now", "options", "code", "said"),
    [
        ({"crowd": 4.0, "close": 3.1}, (), 0, "0 of 2 ratios"),
        ({"crowd": 2.0, "close": 3.1}, (), 1, "1 of 2 ratios have lost more than 25 %"),
        ({"crowd": 2.0, "close": 3.1}, ("--allowed", "60"), 0, "0 of 2 ratios"),
        ({"crowd": 4.0, "new": None}, (), 0, "0 of 1 ratios"),
        ({"other": 4.0}, (), 1, "no ratio in common"),
    ],
)
def test_a_loss_of_speed_is_seen(tmp_path, capsys, monkeypatch, now, options, code, said):
    before, after = figures(tmp_path / "a", crowd=4.0, close=3.0), figures(tmp_path / "b", "B", **now)
    monkeypatch.setattr(sys, "argv", ["compare.py", before, after, *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCH / "compare.py"), run_name="__main__")
    assert ended.value.code == code
    printed = capsys.readouterr().out
    assert said in printed
    assert ("another processor" in printed) == ("ratios" in said)
