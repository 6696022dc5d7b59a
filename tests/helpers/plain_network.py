"""The toy network without batch normalisation: it can be trained on a batch of one."""

from torch import nn
from toy_network import ToyNetwork


class PlainNetwork(ToyNetwork):
    """Counts of letters, two layers."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(width)
        self.letters = nn.Sequential(self.letters[0], nn.Tanh())

    @classmethod
    def asset_settings(cls, folder):
        return {}
