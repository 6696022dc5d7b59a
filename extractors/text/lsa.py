"""Latent semantic analysis: TF-IDF of word and character n-grams, projected on its main directions.

Deerwester et al., "Indexing by latent semantic analysis", 1990. It needs no download and trains in seconds: the
embedded default, and the baseline every real text network has to beat.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer

from extractors.base import FIT_AGAIN, FittedExtractor, PlacedUtterance, Sample
from extractors.layers.scaling import Scaler, Scaling
from extractors.text.transcript import utterance_text
from m2fnet.errors import RunError
from m2fnet.files import read_json, write_json
from m2fnet.records import Modality

VOCABULARY = "vocabulary.json"
_WORD_OR_MARK = r"\w+|[^\w\s]"  # punctuation is kept: "!" and "?" carry emotion


class LSA(FittedExtractor):
    """Embeddings of single utterances from their n-grams; context and speaker are not used.

    Args:
        width: length D of the embeddings; smaller where the training split offers fewer dimensions.
        words: shortest and longest word n-gram, or None for no words.
        characters: the same for character n-grams inside words, or None.
        min_df: n-grams in fewer training utterances than this are dropped.
        sublinear: count an n-gram that occurs n times as 1 + log n.
        scaling: how the embeddings are scaled; ``"variance"`` lifts the last, noisy directions to the height of the
            first and suits only corpora of many thousands of utterances.

    Example:
        >>> lsa = LSA(width=2, min_df=1)
        >>> lsa.fit([{"text": text} for text in ("so happy", "so sad", "happy")])
        >>> lsa(lsa.collate([{"text": "happy"}])).shape
        torch.Size([1, 2])
    """

    modality: ClassVar[Modality] = "text"
    components: Tensor

    def __init__(
        self,
        width: int = 300,
        words: tuple[int, int] | None = (1, 2),
        characters: tuple[int, int] | None = (2, 5),
        min_df: int = 2,
        sublinear: bool = True,
        scaling: Scaling = "none",
    ) -> None:
        super().__init__()
        if width < 1 or min_df < 1:
            raise ValueError(f"Expected width >= 1 and min_df >= 1, but got width={width} and min_df={min_df}.")
        for name, (low, high) in {"words": words or (1, 1), "characters": characters or (1, 1)}.items():
            if not 1 <= low <= high:
                raise ValueError(f"Expected {name} as two lengths, 1 <= shortest <= longest, but got {[low, high]}.")
        shared = {"min_df": min_df, "sublinear_tf": sublinear, "dtype": np.float32}
        self.vectorizers: dict[str, TfidfVectorizer] = {}
        if words is not None:
            self.vectorizers["words"] = TfidfVectorizer(token_pattern=_WORD_OR_MARK, ngram_range=words, **shared)
        if characters is not None:
            self.vectorizers["characters"] = TfidfVectorizer(analyzer="char_wb", ngram_range=characters, **shared)
        if not self.vectorizers:
            raise ValueError(
                "Expected words or characters or both, but got None for both: there is no n-gram to count."
            )
        self._width = width
        self.scaler = Scaler(scaling)
        self.register_buffer("components", UninitializedBuffer())

    @property
    def width(self) -> int:
        """Length D of the embeddings."""
        return self._width if isinstance(self.components, UninitializedBuffer) else self.components.shape[1]

    def preprocess(self, placed: PlacedUtterance) -> Sample:
        """The utterance's text.

        Raises:
            MediaError: if it has none.
        """
        return {"text": utterance_text(placed.utterance)}

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """The n-grams of all samples as one list with a start per sample, the form of an embedding bag."""
        tfidf = self._tfidf(samples, fit=False)
        return {
            "ngrams": torch.from_numpy(tfidf.indices.astype(np.int64)),
            "weights": torch.from_numpy(tfidf.data),
            "starts": torch.from_numpy(tfidf.indptr[:-1].astype(np.int64)),
        }

    def forward(self, batch: Sample) -> Tensor:
        """Embeddings (B, D)."""
        bags = F.embedding_bag(
            batch["ngrams"], self.components, batch["starts"], mode="sum", per_sample_weights=batch["weights"]
        )
        embeddings: Tensor = self.scaler(bags)
        return embeddings

    def fit(self, samples: Sequence[Sample], *, seed: int = 0) -> None:
        """Learn vocabulary, document frequencies, directions and scale from the training split's texts.

        Raises:
            RunError: if the texts share no n-gram.
        """
        try:
            tfidf = self._tfidf(samples, fit=True)
        except ValueError as problem:  # scikit-learn: "empty vocabulary", "no terms remain"
            raise RunError(f"LSA cannot be fitted on {len(samples)} texts: {problem}") from problem
        svd = TruncatedSVD(min(self._width, *tfidf.shape), random_state=seed).fit(tfidf)
        self.components = torch.from_numpy(np.ascontiguousarray(svd.components_.T, dtype=np.float32))
        self.scaler.fit(torch.from_numpy(tfidf @ self.components.numpy()))

    def save(self, folder: Path) -> None:
        """Write directions and scale as safetensors, and every n-gram with its weight as JSON."""
        super().save(folder)
        content = {
            name: dict(zip(vectorizer.get_feature_names_out(), vectorizer.idf_.tolist(), strict=True))
            for name, vectorizer in self.vectorizers.items()
        }
        write_json(folder / VOCABULARY, content)

    def load(self, folder: Path) -> None:
        """Load what `save` wrote into ``folder``.

        Raises:
            RunError: if a file is absent, damaged, or does not fit the other or the settings.
        """
        super().load(folder)
        content = read_json(folder / VOCABULARY, RunError, FIT_AGAIN)
        try:
            for name, vectorizer in self.vectorizers.items():
                vectorizer.set_params(vocabulary=list(content[name]))
                vectorizer.idf_ = np.array(list(content[name].values()), dtype=np.float32)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise RunError(f"{folder / VOCABULARY} is not a vocabulary of these settings. {FIT_AGAIN}") from problem
        ngrams = sum(len(vectorizer.idf_) for vectorizer in self.vectorizers.values())
        if len(self.components) != ngrams:
            raise RunError(f"{folder} has {ngrams} n-grams and {len(self.components)} directions for them. {FIT_AGAIN}")

    def _tfidf(self, samples: Sequence[Sample], *, fit: bool) -> scipy.sparse.csr_matrix:
        texts = [sample["text"] for sample in samples]
        blocks = [
            vectorizer.fit_transform(texts) if fit else vectorizer.transform(texts)
            for vectorizer in self.vectorizers.values()
        ]
        return scipy.sparse.hstack(blocks, format="csr")
