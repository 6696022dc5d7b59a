"""``m2fnet noise``: a tested dialogue run, its inputs with noise -> how its score falls."""

import argparse
import time
from pathlib import Path
from typing import Any

import pandas as pd

from m2fnet.commands.arguments import add_extractor_option, given_extractors, make_parser
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, write_json, write_text
from m2fnet.formatting import bounds, escaped, markdown_table, percent
from m2fnet.metrics.scores import TWO_SCORES, score_title
from m2fnet.records import SPLITS
from m2fnet.reports.terminal import for_terminal
from m2fnet.runs.folder import REPORT
from m2fnet.runs.noise_scores import NOISE, NOISES
from m2fnet.runs.provenance import Provenance

DESCRIPTION = """\
Test a dialogue run again with noise in one modality at a time: white noise in the sound, blurred pictures, words
replaced by others. The extractors read the clips of the split anew for every level, so this takes as long as
`m2fnet extract` on that split about seven times for each modality. The same command resumes: levels that were scored
are not scored again.

Embeddings that were imported have no extractor, and nothing can be added to what it would have read."""
NOTES = """\
Writes noise.json and noise.md into RUN. `m2fnet report --plots` draws them next to what `m2fnet dialog missing`
found."""
_UNFINISHED = "noise-unfinished.json"


def main(argv: list[str]) -> None:
    """Run ``m2fnet noise RUN``.

    Raises:
        UsageError: if an argument is wrong, or the run has not been tested or its data were replaced.
        M2FNetError: if the run and its extractors make no model.
    """
    given = _parser().parse_args(argv)
    extractors, report = given_extractors(given.extractor), _report(given.run)
    from extractors.extraction.embedding import Loading  # takes seconds, which `--help` does not need
    from m2fnet.manifest import Manifest
    from m2fnet.model import assemble
    from m2fnet.pipeline.noisy import NoisyTest
    from m2fnet.pipeline.stages import use_threads

    provenance = Provenance.read(given.run)
    if changed := provenance.changed_inputs():
        raise UsageError(f"{given.run} was trained on other data: {' '.join(changed)} Train and test it again.")
    model = assemble(given.run, extractors)
    use_threads(given.threads, model)
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{line}, {time.monotonic() - began:.0f} s", flush=True)

    loading = Loading(workers=given.workers, device=given.device)
    test = NoisyTest(model, Manifest.load(Path(provenance.manifest.folder)), given.split, loading)
    kept = given.run / _UNFINISHED
    content = {"corpus": report["corpus"], "seed": report["seed"], **test.scores(given.seed, tell, kept)}
    page = as_markdown(content)
    write_json(given.run / NOISE, content)
    write_text((given.run / NOISE).with_suffix(".md"), page)
    kept.unlink(missing_ok=True)
    print(f"{for_terminal(page)}\n\nWrote {(given.run / NOISE).with_suffix('.md')} and {NOISE}.")
    print(f"Next: m2fnet report {given.run} --plots")


def as_markdown(content: dict[str, Any]) -> str:
    """The scores as a page, in per cent; one table per modality."""
    main, second = TWO_SCORES[content["kind"]]
    title = f"{escaped(content['corpus'])}: {' + '.join(content['streams'])}, seed {content['seed']}, noise"
    clean = content["without"]
    lines = [
        f"# {title}",
        "",
        f"The same weights on the {content['split']} split; without noise {score_title(main)} is "
        f"{percent(clean[main]['value'])}. The interval is over dialogues.",
    ]
    for modality, (_, what) in NOISES.items():
        rows = [
            [f"{row['level']:g}", percent(row[main]["value"]), bounds(row[main]), percent(row[second]["value"])]
            for row in content["noise"]
            if row["modality"] == modality
        ]
        if rows:
            columns = [what, score_title(main), "95 % interval", score_title(second)]
            lines += ["", *markdown_table(pd.DataFrame(rows, columns=columns))]
    return "\n".join(lines) + "\n"


def _report(run: Path) -> dict[str, Any]:
    if not (run / REPORT).is_file():
        raise UsageError(
            f"{run} has no {REPORT}; expected the folder of a tested dialogue run. Test it first: "
            f"m2fnet dialog test --config {run / 'config.yaml'}"
        )
    return dict(read_json(run / REPORT, RunError, "Test the run again."))


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "noise",
        DESCRIPTION,
        notes=NOTES,
        examples=["m2fnet noise runs/m2fnet_toy/seed-0", "m2fnet noise runs/m2fnet_toy/seed-0 --split dev --workers 0"],
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of `m2fnet dialog fit` and `test`")
    parser.add_argument("--split", choices=SPLITS[1:], default="test", help="which split is scored (default: test)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    add_extractor_option(parser)
    parser.add_argument("--workers", type=int, help="processes that read media (default: one per core; for text none)")
    parser.add_argument("--threads", type=int, help="of the networks (default: as suits the extractors)")
    parser.add_argument("--device", default="cpu", help="such as cuda:0 (default: cpu)")
    return parser
