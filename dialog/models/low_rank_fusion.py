"""LMF: the product of all streams as a tensor of low rank.

Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018, arXiv:1806.00064, section
3.2; authors' code Justin1904/Low-rank-Multimodal-Fusion, model.py. The tensor fusion network (arXiv:1707.07250) is the
same with a tensor of full rank, whose weights grow with the product of the widths.
"""

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.streams import InputNorm, input_normalisation, vector_widths
from m2fnet.problems import Problem


class LowRankFusion(nn.Module):
    """Scores (B, U, C) of each utterance without its context.

    ``h = sum over r of w_r (prod over m of [z_m; 1] F_m,r) + b`` (equation 6 and the weights of the authors' code),
    where z_m is the stream m after two layers, and [z; 1] lets products of fewer streams in. An absent stream has
    z = 0, so the others are multiplied by a learned constant instead.

    Args:
        problem: emotions, streams and ratings.
        hidden: width of z.
        rank: of the tensor.
        dropout: on the embeddings and on z.
        input_norm: scale of the embeddings, see `dialog.fusion.streams.input_normalisation`.

    Raises:
        ValueError: if a size is below 1, or a stream has sequences.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        hidden: int = 64,
        rank: int = 4,
        dropout: float = 0.3,
        input_norm: InputNorm | bool = True,
    ) -> None:
        super().__init__()
        if min(hidden, rank) < 1:
            raise ValueError(f"Expected `hidden` and `rank` to be at least 1, but got {hidden} and {rank}.")
        self.classes = len(problem.classes)
        out = self.classes + len(problem.ratings)
        self.encoders = nn.ModuleDict(
            {
                name: nn.Sequential(
                    input_normalisation(name, width, input_norm),
                    nn.Dropout(dropout),
                    nn.Linear(width, hidden),
                    nn.ReLU(),
                    nn.Linear(hidden, hidden),
                    nn.Dropout(dropout),
                )
                for name, width in vector_widths(problem).items()
            }
        )
        self.factors = nn.Parameter(torch.empty(len(self.encoders), rank, hidden + 1, out))
        self.mix = nn.Parameter(torch.empty(rank))
        self.bias = nn.Parameter(torch.zeros(out))
        for factor in self.factors.flatten(0, 1):
            nn.init.xavier_normal_(factor)
        nn.init.normal_(self.mix, std=rank**-0.5)

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C), and ratings (B, U, R) where the problem has some."""
        product: Tensor | None = None
        for (name, encoder), factor in zip(self.encoders.items(), self.factors, strict=True):
            here = batch["present"][name][..., None]
            z = torch.where(here, encoder(batch["inputs"][name]), 0.0)
            seen = torch.einsum("buh,rho->buro", torch.cat([z, torch.ones_like(z[..., :1])], -1), factor)
            product = seen if product is None else product * seen
        assert product is not None, "a problem has at least one stream"
        found = torch.einsum("r,buro->buo", self.mix, product) + self.bias
        ratings = found[..., self.classes :]
        return Output(found[..., : self.classes], ratings=ratings if ratings.shape[-1] else None)
