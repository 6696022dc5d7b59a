"""``m2fnet export``: a dialogue run -> a model as one folder, which can be used and shared."""

import argparse
from pathlib import Path

from m2fnet.commands.arguments import add_extractor_option, given_extractors, make_parser

NOTES = """\
The folder holds the dialogue network, the extractors whose embeddings it was trained on, the emotions, a model card
(README.md) with the scores of `m2fnet dialog test`, and the hash of every file. Loading it unpickles nothing, runs no
code out of it, and refuses a folder in which a file was changed.

The extractors are found in the folders around RUN, by the hash of their weights; name one that is elsewhere with
--extractor.

Check the licences of the corpus and of the pretrained encoders before you pass weights on, and read README.md."""


def main(argv: list[str]) -> None:
    """Run ``m2fnet export RUN --out MODEL``.

    Raises:
        UsageError: if an argument is wrong or the run was not tested.
        M2FNetError: if the run and its extractors make no model.
    """
    given = _parser().parse_args(argv)
    extractors = given_extractors(given.extractor)
    from m2fnet.model import assemble, hub, save_model
    from m2fnet.model.card import model_card
    from m2fnet.model.layout import refuse_used

    if given.push_to_hub is not None:
        hub.refuse_no_name(given.push_to_hub)
    refuse_used(given.out, overwrite=given.overwrite)
    model = assemble(given.run, extractors)
    save_model(model, given.out, model_card(given.run, model), overwrite=given.overwrite, onnx=given.onnx)
    files = [path for path in given.out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{given.out}: {' + '.join(model.extractors)}, {len(files)} files, {size:.1f} MB.")
    print(f"Model card: {given.out / 'README.md'}. Next: m2fnet predict CLIP --model {given.out}")
    if given.push_to_hub is not None:
        print(f"Uploaded, and private if it is new: {hub.push(given.out, given.push_to_hub)}")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "export",
        "Write a tested dialogue run, with its extractors, as one folder: a model.",
        notes=NOTES,
        examples=[
            "m2fnet export runs/meld/seed-0 --out model",
            "m2fnet export runs/meld/seed-0 --out model --extractor text=/data/text_lsa",
            "m2fnet predict clip.mp4 --model model",
        ],
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of `m2fnet dialog fit` and `test`")
    what = parser.add_argument_group("what is exported")
    add_extractor_option(what)
    what.add_argument(
        "--onnx",
        action="store_true",
        help="write network.onnx, and audio.onnx if a network hears samples, for other runtimes; checked against torch "
        "(pip install 'm2fnet[onnx]')",
    )
    where = parser.add_argument_group("where it is written")
    where.add_argument("--out", type=Path, required=True, metavar="MODEL", help="new folder for the model")
    where.add_argument("--overwrite", action="store_true", help="replace the model that --out holds")
    where.add_argument(
        "--push-to-hub",
        metavar="OWNER/NAME",
        help="upload the folder to the Hugging Face hub, as a private model if it is new; log in with `hf auth login`",
    )
    return parser
