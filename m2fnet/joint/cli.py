"""``m2fnet joint {fit,validate,test}``: an extractor and a dialogue network trained together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from extractors.commands.extractor import ExtractorCLI
from m2fnet.joint.data import JointData
from m2fnet.joint.task import JointTask


class JointCLI(ExtractorCLI):
    """Trains an extractor together with a dialogue network over its embeddings; the run is that of an extractor."""

    prog = "m2fnet joint"
    task = JointTask
    data = JointData
    example = "joint/meld_text.yaml"
    heads: ClassVar[Mapping[str, str]] = {"head": "dialogue network"}

    @property
    def is_closed_form(self) -> bool:
        """Never: what has no weights to train is refused."""
        return False

    def logged_on_dev(self) -> tuple[str, ...]:
        """Names of the scores on dev that are logged after every epoch."""
        return (self.problem.monitor, "cross_entropy", "head_f1")


def train(argv: Sequence[str]) -> Path:
    """Run one command of a joint training and return its run folder."""
    return JointCLI.start(argv).folder


def main(argv: list[str]) -> None:
    """Run ``m2fnet joint``."""
    JointCLI.start(argv, prints_plan=True)
