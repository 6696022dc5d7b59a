"""A training as one object: what ``m2fnet dialog fit`` and ``test`` do, from Python."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json

if TYPE_CHECKING:
    import pandas as pd

_GROUPS = {"trainer", "data", "model", "model.net", "model.optimizer"}  # of settings that are given one by one


@dataclass(frozen=True)
class Run:
    """The folder of a trained dialogue network.

    Attributes:
        folder: with the weights, the settings and, once it is tested, the report.

    Example:
        >>> run = Run.fit("conf/dialog/m2fnet_toy.yaml", trainer={"max_epochs": 3})  # doctest: +SKIP
        >>> run.test()["test"]["weighted_f1"]  # doctest: +SKIP
        0.61
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # a notebook gives it as text

    @classmethod
    def fit(cls, config: str | Path, *, seed: int = 0, folder: str | Path | None = None, **settings: Any) -> "Run":  # noqa: ANN401
        """Train a dialogue network, or find that this has been done; an interrupted training is resumed.

        Args:
            config: the configuration, a file of yours or a shipped one such as ``conf/dialog/m2fnet_meld.yaml``.
            seed: of all random numbers.
            folder: of the run; None for ``runs/<configuration and what differs>/seed-<seed>``.
            settings: what differs from the configuration, nested as in the file:
                ``data={"streams": ["text"]}, model={"net": {"fusion_layers": 1}}``.

        Raises:
            UsageError: naming the setting that is unknown or wrong.
            M2FNetError: if the training fails, with its reason.
        """
        from dialog.cli import train  # loads what trains, which a prediction does not need

        argv = ["fit", "--config", str(config), f"--seed_everything={seed}", "--quiet"]
        argv += [] if folder is None else [f"--run={folder}"]
        typed = {key: value if isinstance(value, str) else json.dumps(value) for key, value in _flat(settings)}
        return cls(train([*argv, *(f"--{key}={text}" for key, text in typed.items())]))

    def test(self) -> dict[str, Any]:
        """The report on dev and test, which is made if there is none; ``report["test"]["weighted_f1"]`` is a share.

        Raises:
            M2FNetError: if the run is not trained, or its data are gone.
        """
        from m2fnet.runs.provenance import has_own_report

        if not has_own_report(self.folder):
            from dialog.cli import train

            train(["test", "--config", str(self.folder / "config.yaml"), "--quiet"])
        return read_json(self.folder / "report.json", RunError, "Test the run again.")

    def predictions(self, split: str = "test") -> "pd.DataFrame":
        """Every labelled utterance of ``dev`` or ``test``: id, dialogue, label, predicted emotion, probabilities.

        Raises:
            UsageError: if ``split`` is another one.
        """
        import pandas as pd

        from m2fnet.runs.tested import PREDICTIONS, kind_of, read_scored

        if split not in PREDICTIONS:
            raise UsageError(f"The split is {split!r}, expected {' or '.join(PREDICTIONS)}.")
        report = self.test()
        rows = read_scored(self.folder, split, report["classes"], kind_of(report))
        table = pd.DataFrame([vars(row) for row in rows])
        probabilities = pd.DataFrame(table.pop("probabilities").tolist()).add_prefix("p_")
        return pd.concat([table, probabilities], axis=1)

    def _repr_html_(self) -> str:
        """The scores as a table for a notebook; of a run that is not tested, only that on dev."""
        import pandas as pd

        from m2fnet.runs.folder import fit_of
        from m2fnet.runs.provenance import has_own_report

        if not has_own_report(self.folder):
            fitted = {key: value for key, value in fit_of(self.folder).items() if key.startswith("dev.")}
            return str((100 * pd.DataFrame(fitted, index=["not tested yet"])).to_html(float_format="{:.2f}".format))
        report = self.test()
        scores = {split: {k: v for k, v in report[split].items() if isinstance(v, float)} for split in ("dev", "test")}
        return str((100 * pd.DataFrame(scores).T).to_html(float_format="{:.2f}".format))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every setting.

    Example:
        >>> list(_flat({"data": {"streams": ["text"]}, "model": {"net": {"width": 8}}}))
        [('data.streams', ['text']), ('model.net.width', 8)]
    """
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if key in _GROUPS and isinstance(value, Mapping) and "class_path" not in value:
            yield from _flat(value, f"{key}.")
        else:
            yield key, value
