"""``m2fnet demo``: all stages on the toy corpus, by the commands that a user would type."""

import json
import shlex
import time
from pathlib import Path

from m2fnet import cli
from m2fnet.commands.arguments import make_parser
from m2fnet.errors import RunError
from m2fnet.files import JsonObject, read_json

EXTRACTORS = {"text": "text_lsa", "audio": "audio_mel_statistics", "visual": "visual_face_gradients"}
MODALITY_SETS: tuple[tuple[str, ...], ...] = (
    ("text",),
    ("audio",),
    ("visual",),
    ("audio", "visual"),
    ("text", "audio"),
    ("text", "visual"),
    ("text", "audio", "visual"),
)
CONFIG = "conf/dialog/m2fnet_toy.yaml"


def main(argv: list[str]) -> None:
    """Run every stage and end with a table; stages that are done already are skipped."""
    parser = make_parser(
        "demo",
        "Write a made-up corpus of clips, embed its text, sound and faces, train M2FNet on every set of modalities and "
        "compare them. It takes a minute or two on two cores and downloads nothing. Rerunning the command resumes "
        "after the last stage that was finished.",
        examples=["m2fnet demo", "m2fnet demo --out /tmp/demo"],
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="folder for everything (default: runs/demo)"
    )
    out = parser.parse_args(argv).out
    import torch  # takes seconds, which `m2fnet demo --help` does not need

    from m2fnet.corpora.toy import write_talk

    torch.set_num_threads(1)  # networks as small as these lose more by sharing a step between threads than they gain
    started = time.perf_counter()
    _embed(out)
    reports = {modalities: _train(out, modalities) for modalities in MODALITY_SETS}
    print(f"\n{_table(reports)}")
    best, talk = _run(out, MODALITY_SETS[-1]), out / "talk.mp4"
    if not talk.exists():
        write_talk(talk, out / "raw")
    print(
        f"Toy corpus, one seed: the figures show that all stages work, not how well M2FNet does on real dialogues.\n"
        f"Done in {time.perf_counter() - started:.0f} s. All three modalities in detail:\n"
        f"  report     {best / 'report.md'}\n"
        f"  picture    {best / 'confusion.png'}\n"
        f"  scores     {best / 'report.json'}\n"
        f"  clips      {out / 'raw'}\n"
        f"Next: m2fnet predict {talk} --model {best}     # a conversation that is not in the corpus\n"
        f"      m2fnet serve --model {best}"
    )


def _embed(out: Path) -> None:
    """Raw clips, manifest, and one store per modality."""
    manifest = str(out / "data")
    _command("prepare", "toy", "--root", str(out / "raw"), "--out", manifest)
    for modality, name in EXTRACTORS.items():
        run, config = str(out / "extractors" / name), f"conf/extractors/{name}.yaml"
        _command("extractor", "fit", "--config", config, "--manifest", manifest, "--run", run)
        _command("extract", "--ckpt", run, "--manifest", manifest, "--out", str(out / "embeddings" / modality))


def _train(out: Path, modalities: tuple[str, ...]) -> JsonObject:
    """Train and test one dialogue network; return its report."""
    run = _run(out, modalities)
    stores = json.dumps({modality: str(out / "embeddings" / modality) for modality in modalities})
    places = ("--data.manifest", str(out / "data"), "--data.stores", stores, "--run", str(run))
    _command("dialog", "fit", "--config", CONFIG, *places, "--quiet")
    from m2fnet.runs.provenance import has_own_report  # torch takes seconds, which `m2fnet demo --help` does not need

    if not has_own_report(run):
        _command("dialog", "test", "--config", str(run / "config.yaml"), "--quiet")
    return read_json(run / "report.json", RunError, "Remove the run and start the demo again.")


def _command(*arguments: str) -> None:
    """Show a command as one would type it, and run it.

    Raises:
        RunError: if it fails; it has printed why.
    """
    print(f"\n$ m2fnet {shlex.join(arguments)}", flush=True)
    if cli.run(arguments) != cli.DONE:
        raise RunError(
            f"`m2fnet {' '.join(arguments[:2])}` failed, see above; the demo stops here. If the folder is of an older "
            "version, name another one with --out."
        )


def _run(out: Path, modalities: tuple[str, ...]) -> Path:
    return out / "dialog" / "-".join(modalities)


def _table(reports: dict[tuple[str, ...], JsonObject]) -> str:
    """Weighted F1 and per-class F1 on test for every set of modalities, in per cent."""
    first = next(iter(reports.values()))
    classes = first["classes"]
    lines = [f"{'F1 on test, %':<26}{'weighted':>9}" + "".join(f"{name:>9}" for name in classes)]
    lines.append("-" * len(lines[0]))
    baseline = f"always {first['test']['majority_class']} (majority)"
    lines.append(f"{baseline:<26}{100 * first['test']['majority_weighted_f1']:>9.1f}")
    for modalities, report in reports.items():
        per_class = "".join(f"{100 * report['test']['per_class'][name]['f1']:>9.1f}" for name in classes)
        lines.append(f"{' + '.join(modalities):<26}{100 * report['test']['weighted_f1']:>9.1f}{per_class}")
    return "\n".join(lines)
