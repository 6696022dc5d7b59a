"""Latent semantic analysis: TF-IDF of word and character n-grams, projected on its main directions.

Deerwester et al., "Indexing by latent semantic analysis", 1990. It needs no download and trains in seconds: the
embedded default, and the baseline every real text network has to beat.
"""

import re
from collections.abc import Iterator, Sequence
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
from m2fnet.errors import MediaError, RunError
from m2fnet.files import read_json, write_json
from m2fnet.records import Modality

VOCABULARY = "vocabulary.json"
_WORD = re.compile(r"\w+")
_FEWEST_WORDS, _KNOWN_WORDS = 3, 0.25  # of a text that is not of another language
_KNOWN_LETTERS, _KNOWN_LETTERS_OF_FEW = 0.5, 0.25
# Of the first singular value; in weaker directions the training texts are all alike and only new ones differ, so that a
# network which standardises its input would hear nothing else of those.
_WEAKEST = 1e-3
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
    batch_size_on_cpu: ClassVar[int] = (
        256  # sparse counts are small, and scikit-learn looks through its vocabulary per call
    )
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
        self._lengths = [{"words": 1, "characters": 3}[name] for name in self.vectorizers]
        self._known: dict[str, frozenset[str]] = {}
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
            MediaError: if it has none, or the extractor has been fitted and knows as good as nothing of it.
        """
        text = utterance_text(placed.utterance)
        if self._known and not self.knows(text):
            raise MediaError("text", "the extractor knows as good as none of its words; is it another language?")
        return {"text": text}

    def knows(self, text: str) -> bool:
        """Whether enough of ``text`` occurred in training; otherwise its embedding would be that of no words at all.

        It is not enough if none of three or more words is known, or less than a quarter of the words and, of their
        letters by threes, less than half (a quarter for one or two words). Of MELD's 13,708 utterances that is true for
        three at most ("Yowza"), of another language for nearly all.

        Example:
            >>> lsa = LSA(width=2, min_df=1)
            >>> lsa.fit([{"text": text} for text in ("so happy", "so sad", "happy")])
            >>> lsa.knows("Happy!"), lsa.knows("sehr fröhlich"), lsa.knows("?!")
            (True, False, True)
        """
        words = _WORD.findall(text.lower())
        if not words:
            return True  # marks have no language
        known = self._known.get("words")
        share = sum(word in known for word in words) / len(words) if known is not None else None
        threes = {piece for word in words for piece in _threes(word)}
        letters = self._known.get("characters")
        likeness = sum(piece in letters for piece in threes) / len(threes) if letters is not None else None
        if share == 0 and (len(words) >= _FEWEST_WORDS or likeness is None):
            return False
        enough = _KNOWN_LETTERS if len(words) >= _FEWEST_WORDS else _KNOWN_LETTERS_OF_FEW
        return (share is not None and share >= _KNOWN_WORDS) or likeness is None or likeness >= enough

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
            least = next(iter(self.vectorizers.values())).min_df
            raise RunError(
                f"LSA cannot be fitted on {len(samples)} texts: no word and no run of letters that it counts is in "
                f"{least} of them. Train on more texts, or set model.net.min_df to 1."
            ) from problem
        self._note_vocabulary()
        svd = TruncatedSVD(min(self._width, *tfidf.shape), random_state=seed).fit(tfidf)
        directions = svd.components_[svd.singular_values_ > _WEAKEST * svd.singular_values_.max()]
        self.components = torch.from_numpy(np.ascontiguousarray(directions.T, dtype=np.float32))
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
            self._note_vocabulary()
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise RunError(f"{folder / VOCABULARY} is not a vocabulary of these settings. {FIT_AGAIN}") from problem
        ngrams = sum(len(vectorizer.idf_) for vectorizer in self.vectorizers.values())
        if len(self.components) != ngrams:
            raise RunError(f"{folder} has {ngrams} n-grams and {len(self.components)} directions for them. {FIT_AGAIN}")

    def _note_vocabulary(self) -> None:
        """Note the single words and the letters by threes that are known, where such are counted."""
        for (name, vectorizer), length in zip(self.vectorizers.items(), self._lengths, strict=True):
            low, high = vectorizer.ngram_range
            if low <= length <= high:
                self._known[name] = frozenset(map(str, vectorizer.get_feature_names_out()))

    def _tfidf(self, samples: Sequence[Sample], *, fit: bool) -> scipy.sparse.csr_matrix:
        texts = [sample["text"] for sample in samples]
        blocks = [
            vectorizer.fit_transform(texts) if fit else vectorizer.transform(texts)
            for vectorizer in self.vectorizers.values()
        ]
        return scipy.sparse.hstack(blocks, format="csr")


def _threes(word: str) -> Iterator[str]:
    """The letters of a word by threes, with a blank around the word, as scikit-learn's ``char_wb`` cuts them."""
    padded = f" {word} "
    return (padded[start : start + 3] for start in range(len(padded) - 2))
