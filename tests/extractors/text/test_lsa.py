"""LSA on odd texts and settings."""

import pytest
import torch
from safetensors.torch import load_file
from tiny_clips import LSA as LSA_PATH
from tiny_clips import embeddings, fitted

from extractors.extraction.embedding import place_utterances
from extractors.runs.folder import TRAINING
from extractors.text.lsa import LSA
from m2fnet.errors import MediaError
from m2fnet.store import Missing


def test_variance_scaling_gives_the_training_split_mean_0_and_variance_1(corpus, tmp_path):
    extractor = fitted(LSA_PATH, corpus, tmp_path, scaling="variance")
    train = load_file(tmp_path / TRAINING)["embeddings"]
    torch.testing.assert_close(train.mean(0), torch.zeros(extractor.width), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(extractor.width), atol=1e-3, rtol=0)


def test_length_scaling_gives_unit_vectors(corpus, tmp_path):
    extractor = fitted(LSA_PATH, corpus, tmp_path, scaling="length")
    lengths = torch.stack(embeddings(extractor, corpus)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def embedded(text, corpus, changed, tmp_path):
    extractor = fitted(LSA_PATH, corpus, tmp_path)
    other = changed(lambda u: u.id == "dev0_0", text=text)
    return dict(zip([u.id for u in other.utterances], embeddings(extractor, other), strict=True))["dev0_0"]


@pytest.mark.parametrize("text", ["🙂🙂🙂", "word " * 10_000 + "great", "?!", "İ\ufb01\u0130", "\u2028"])
def test_strange_text_is_finite_or_missing(text, corpus, changed, tmp_path):
    found = embedded(text, corpus, changed, tmp_path)
    assert found.reason if isinstance(found, Missing) else torch.isfinite(found).all()


@pytest.mark.parametrize(
    "text",
    ["qqqq zzzz", "Привет, как дела?", "こんにちは！", "Bonjour, comment allez-vous ?", "Ich habe das nicht gewusst!"],
)
def test_text_of_which_nothing_is_known_is_missing_and_not_an_average(text, corpus, changed, tmp_path):
    found = embedded(text, corpus, changed, tmp_path)
    assert isinstance(found, Missing)
    assert found.stage == "text"
    assert "knows as good as none of its words" in found.reason


@pytest.mark.parametrize(
    "settings", [{}, {"characters": None}, {"words": None}, {"words": (2, 2), "characters": (2, 2)}]
)
def test_what_was_in_training_is_known_with_any_settings_and_after_loading(settings, tmp_path):
    texts = ["I hate this", "so happy today", "I hate that", "so happy"]
    extractor = LSA(width=2, min_df=1, **settings)
    extractor.fit([{"text": text} for text in texts])
    extractor.save(tmp_path)
    again = LSA(width=2, min_df=1, **settings)
    again.load(tmp_path)
    for one in (extractor, again):
        assert all(map(one.knows, texts))
        assert one.knows("Пожалуйста, ещё раз") == (settings.get("words") == (2, 2))  # those settings cannot tell


@pytest.mark.parametrize(("text", "reason"), [(None, "no transcript"), ("  \n", "empty")])
def test_no_text_is_missing(text, reason, corpus, changed):
    other = changed(lambda u: u.id == "dev0_0", text=text)
    placed = next(placed for placed in place_utterances(other) if placed.utterance.id == "dev0_0")
    with pytest.raises(MediaError, match=reason):
        LSA().preprocess(placed)


@pytest.mark.parametrize(
    "settings", [{"width": 0}, {"min_df": 0}, {"words": (2, 1)}, {"words": None, "characters": None}]
)
def test_senseless_settings_are_refused(settings):
    with pytest.raises(ValueError, match="Expected"):
        LSA(**settings)


def test_directions_in_which_training_does_not_vary_are_dropped():
    """Else a network that standardises its input would hear nothing but them in new texts."""
    texts = ["so very happy", "so very sad", "never again", "so very happy", "never again"]
    lsa = LSA(width=5, min_df=1)
    lsa.fit([{"text": text} for text in texts])
    assert lsa.width == 3  # of five texts there are three different ones
    new = lsa(lsa.collate([{"text": "happy again"}]))
    spread = torch.cat([lsa(lsa.collate([{"text": text}])) for text in texts]).std(0)
    assert (new / spread).abs().max() < 10
