"""A place -> the model there: a model folder, a run folder, or a name on the Hugging Face hub."""

from pathlib import Path

from m2fnet.errors import ModelError
from m2fnet.files import like_it
from m2fnet.model.assembling import assemble
from m2fnet.model.folder import read_model
from m2fnet.model.hub import download, is_name
from m2fnet.model.layout import CONFIG
from m2fnet.model.record import Model
from m2fnet.runs.folder import is_run


def load_model(place: str | Path) -> Model:
    """The model in ``place``, ready to be used; no training code is imported for it.

    Args:
        place: folder of a model that `save_model` or ``m2fnet export`` wrote, or of a dialogue run, whose extractors
            `assemble` finds, or, if no folder has that name, ``owner/name`` on the Hugging Face hub.

    Raises:
        ModelError: if there is no model, or one that is damaged, tampered with or not to be trusted.
        RunError: if the run is not finished or damaged.
    """
    folder = Path(place)
    if (folder / CONFIG).is_file():
        return read_model(folder)
    if is_run(folder):
        return assemble(folder)
    if folder.exists():
        raise ModelError(
            f"{folder} is not a model: it holds neither {CONFIG}, as `m2fnet export` writes it, nor config.yaml and "
            "provenance.json, as `m2fnet dialog fit` writes them."
        )
    if not is_name(str(place)):
        raise ModelError(
            f"There is no model {str(place)!r}: no folder has that name; expected the folder of a model or of a run, "
            f"or owner/name on the Hugging Face hub.{like_it(folder)}"
        )
    try:
        snapshot = download(str(place))
    except ModelError as problem:  # a folder that is misspelled may look like a name on the hub
        raise ModelError(f"{problem}{like_it(folder)}") from problem
    return read_model(snapshot, root=snapshot.parents[1])  # the hub's cache keeps the linked files there
