"""The model card: what a person has to know before using a model, in the layout of the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from m2fnet.formatting import escaped, markdown_table, percent, plain
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, Interval, bootstrap_intervals
from m2fnet.metrics.scores import STATISTICS, TWO_SCORES, main_score, score_title
from m2fnet.model.record import Model
from m2fnet.records import SPLITS
from m2fnet.runs.tested import TestedRun

_LIMITS = """\
- The labels are what annotators *perceived* in the recordings of one corpus. Nothing here tells what a person feels.
- The scores hold for recordings like those of the corpus. Other languages, cultures, ages, microphones, cameras and
  situations are not covered by them; expect less, and measure it on labelled recordings of your own.
- Rare emotions are mostly recognised worst; the table by class shows by how much. Where one class is frequent,
  answering it always already gives the {main} that the table of scores names.
- Probabilities are calibrated on the dev split of the corpus at best, and on nothing else.
- An utterance is predicted from those around it too: who speaks when, and what was said before, changes the result."""

_INTENDED = """\
Research on emotion recognition in conversation: comparing methods, annotating recordings for a person to check, studies
with people who know about it and have agreed."""

_MISUSE = """\
Not for decisions about people: hiring, school, policing, borders, credit, insurance, health, or watching people at
work. Not for inferring intentions, honesty, character or diagnoses. Not on people who have not agreed to it. In the
European Union, inferring emotions of people at work and in education is prohibited (Regulation (EU) 2024/1689, article
5(1)(f)), and other uses are of high risk; similar laws hold elsewhere."""

_LICENCES = """\
This card grants nothing. The code is under the MIT licence. What may be done with the weights depends on the licences
of the corpus and of every pretrained encoder they come from; those are the corpus's and the encoder's own, and whoever
passes the weights on has to look them up and to set the `license` of this card."""


def model_card(run: Path, model: Model) -> str:
    """The card of the ``model`` that was assembled from the tested dialogue run ``run``.

    Raises:
        UsageError: if the run was not tested, because a model without scores should not be shared.
    """
    tested = TestedRun.read(run)
    scores = _scores(tested)
    title = f"Emotion recognition in conversation on {plain(tested.report['corpus'])}"
    parts = [
        f"---\n{_header(title, tested, model)}\n---",
        f"# {escaped(title)}",
        _summary(model),
        _use(),
        f"## Corpus and protocol\n\n{_corpus(tested, model)}",
        f"## Scores\n\n{_score_table(tested, scores, model.thresholds)}",
        f"## Limits\n\n{_LIMITS.format(main=score_title(main_score(tested.kind)))}",
        f"## Intended use\n\n{_INTENDED}",
        f"## Misuse\n\n{_MISUSE}",
        f"## Licences\n\n{_LICENCES}",
    ]
    return "\n\n".join(parts) + "\n"


def _header(title: str, tested: TestedRun, model: Model) -> str:
    """The YAML that the hub reads."""
    corpus = plain(tested.report["corpus"])
    results = [
        EvalResult(
            task_type="emotion-recognition-in-conversation",
            dataset_type=corpus,
            dataset_name=corpus,
            dataset_split="test",
            metric_type=kind,
            metric_name=score_title(name),
            metric_value=round(tested.report["test"][name], 4),
        )
        for name, kind in zip(TWO_SCORES[tested.kind], ("f1", "accuracy"), strict=True)
    ]
    data = ModelCardData(
        model_name=title,
        library_name="m2fnet",
        license="other",
        tags=["emotion-recognition-in-conversation", "emotion-recognition", "multimodal", *model.extractors],
        metrics=["f1", "accuracy"],
        eval_results=results,
    )
    return data.to_yaml()


def _summary(model: Model) -> str:
    classes = ", ".join(escaped(name) for name in model.label_set.classes)
    parts = [("network", model.config["network"]), *model.config["extractors"].items()]
    rows = [(name, part["class_path"], part.get("started_from") or "–") for name, part in parts]
    *others, last = model.extractors
    inputs = f"{', '.join(others)} and {last}" if others else last
    answer = "one" if model.label_set.kind == "single" else "any number, possibly none,"
    text = (
        f"For each utterance of a conversation {answer} of {classes}, from its {inputs}, and from the utterances "
        "around it."
    )
    return "\n".join([text, "", *markdown_table(pd.DataFrame(rows, columns=["part", "class", "started from"]))])


def _use() -> str:
    return (
        "```\nm2fnet predict clip.mp4 --model FOLDER_OR_NAME\n```\n\n"
        "```python\nfrom m2fnet.pipeline import Pipeline\n\n"
        'predictions = Pipeline.from_pretrained("FOLDER_OR_NAME")("clip.mp4")\n```'
    )


def _corpus(tested: TestedRun, model: Model) -> str:
    trained = model.config["trained"]
    chosen = (
        "of the last epoch"
        if trained["select"] == "last"
        else f"of the epoch with the best {score_title(main_score(tested.kind))} on dev"
    )
    protocol = ", ".join(f"{escaped(key)} {escaped(str(value))}" for key, value in (trained["protocol"] or {}).items())
    corpus = escaped(tested.report["corpus"])
    lines = [
        f"Trained on the train split of {corpus}; the weights are those {chosen}. The test split chose nothing.",
        f"Protocol: {protocol}." if protocol else "",
        f"Manifest SHA-256 `{trained['manifest_sha256']}`, seed {trained['seed']}.",
    ]
    counts = trained["counts"] or {}
    rows = [
        (s, *(str(counts[s][key]) for key in ("dialogues", "utterances", "labelled"))) for s in SPLITS if s in counts
    ]
    text = " ".join(line for line in lines if line)
    return (
        "\n".join(
            [text, "", *markdown_table(pd.DataFrame(rows, columns=["split", "dialogues", "utterances", "labelled"]))]
        )
        if rows
        else text
    )


def _scores(tested: TestedRun) -> dict[str, Interval | None]:
    """Intervals over dialogues of the scores on test; None where there are too few dialogues for one."""
    counts = tested.counts()
    if len(counts) < FEWEST_DIALOGUES:
        return dict.fromkeys(STATISTICS[tested.kind])
    return dict(bootstrap_intervals(counts, STATISTICS[tested.kind]))


def _score_table(tested: TestedRun, scores: dict[str, Interval | None], thresholds: Mapping[str, float]) -> str:
    test = tested.report["test"]
    if tested.kind == "single":
        baselines = [(f"weighted F1 of always {test['majority_class']}", percent(test["majority_weighted_f1"]), "–")]
    else:
        main = main_score("multi")
        baselines = [
            (
                f"{score_title(main)} of the {escaped(name)} ({', '.join(of['labels']) or 'none'})",
                percent(of[main]),
                "–",
            )
            for name, of in test["baselines"].items()
        ]
    head = [
        f"On the {len(tested.scored)} labelled utterances of the test split, in per cent, one seed. Intervals are "
        "over dialogues and do not tell what another seed would do.",
        "",
        *markdown_table(
            pd.DataFrame(
                [
                    *((score_title(name), percent(test[name]), _bounds(found)) for name, found in scores.items()),
                    *baselines,
                ],
                columns=["score", "test", "95 % interval"],
            )
        ),
        "",
        *markdown_table(_class_table(test["per_class"], thresholds)),
    ]
    return "\n".join(head)


def _bounds(interval: Interval | None) -> str:
    return "too few dialogues" if interval is None else f"{percent(interval.low)} to {percent(interval.high)}"


def _class_table(per_class: dict[str, Any], thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Scores of each class, and of sets of emotions the probability from which it is in an answer."""
    rows = [
        (name, str(row["support"]), *(percent(row[key]) for key in ("f1", "precision", "recall")))
        for name, row in per_class.items()
    ]
    table = pd.DataFrame(rows, columns=["class", "n", "F1", "precision", "recall"])
    return table.assign(threshold=[percent(thresholds[name]) for name in per_class]) if thresholds else table
