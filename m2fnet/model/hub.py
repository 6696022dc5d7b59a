"""Models on the Hugging Face hub, by its own library."""

import re
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from m2fnet.errors import ModelError, UsageError
from m2fnet.model.layout import CARD, CONFIG, KINDS

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_FILES = [CARD, *(f"*{kind}" for kind in KINDS)]


def is_name(place: str) -> bool:
    """Whether ``place`` could be a model's name on the hub, ``owner/name``."""
    return _NAME.fullmatch(place) is not None


def refuse_no_name(name: str) -> None:
    """Refuse what cannot be a model's name on the hub.

    Raises:
        UsageError: quoting it.
    """
    if not is_name(name):
        raise UsageError(f"--push-to-hub is {name!r}, expected owner/name.")


def download(name: str) -> Path:
    """Folder with the files of the model ``name``, downloaded once; files of other kinds are left there.

    Raises:
        ModelError: if the hub, or its cache on this machine, has no such model.
    """
    try:
        folder = Path(snapshot_download(name, allow_patterns=_FILES))
    except Exception as problem:  # of the hub, of the network, of the disk: many kinds, one meaning
        first = (str(problem).splitlines() or [""])[0].rstrip(".")
        raise ModelError(
            f"There is no model {name!r}: no folder has that name, and neither the local cache nor the Hugging Face "
            f"hub gave it ({type(problem).__name__}: {first})."
        ) from problem
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{name} on the hub is not a model of m2fnet: it has no {CONFIG}.")
    return folder


def push(folder: Path, name: str) -> str:
    """Upload the model in ``folder`` as ``name``, private if it is new there; its address comes back.

    Raises:
        UsageError: if ``name`` is not ``owner/name``, or nobody is logged in.
        ModelError: if the hub refuses.
    """
    refuse_no_name(name)
    api = HfApi()
    try:
        api.whoami()
        address = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=_FILES, commit_message="Export of m2fnet")
    except LocalTokenNotFoundError as problem:
        raise UsageError("Nobody is logged in to the Hugging Face hub; run `hf auth login` first.") from problem
    except HfHubHTTPError as problem:
        first = (str(problem).splitlines() or [""])[0]
        raise ModelError(f"The hub did not take {name} ({first}); the model is in {folder} all the same.") from problem
    return str(address)
