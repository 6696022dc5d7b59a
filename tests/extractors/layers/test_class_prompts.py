"""Class prompts against the authors' numbers and against CLIP's text tower."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip_model import save_tiny_clip, tiny_clip
from torch.testing import assert_close
from transformers import AutoTokenizer

from extractors.layers.class_prompts import ClassPrompts, ClassTexts, Context, Prototypes, scaled_cosine
from extractors.layers.frozen import Frozen

NUMBERS = os.environ.get("M2FNET_REFERENCE_NUMBERS")  # a folder; its numbers are not part of the project
FILE = Path(NUMBERS, "mer", "video_prompts.npz") if NUMBERS else None
TEXTS = ClassTexts(((1,), (2, 5), (3,)), (38,), (7, 39))


@pytest.fixture(scope="module")
def numbers():
    if FILE is None or not FILE.exists():
        pytest.skip("M2FNET_REFERENCE_NUMBERS names no folder with reference numbers")
    return {name: torch.from_numpy(value) for name, value in np.load(FILE).items()}


def texts_of(numbers):
    """The texts in the numbers, where placeholders keep the places of four words of context."""
    rows = numbers["text.ids"].tolist()
    names = [tuple(row[5 : 5 + count]) for row, count in zip(rows, numbers["text.class_words"].tolist(), strict=True)]
    after = 5 + len(names[0])
    return ClassTexts(tuple(names), (rows[0][0],), tuple(rows[0][after : after + 2]))


def same(ours, theirs):
    assert_close(ours.detach(), theirs, atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", ["per_class", "shared"])
@pytest.mark.parametrize("place", ["end", "middle", "front"])
def test_prompts_features_and_logits_are_those_of_the_released_code(numbers, place, kind):
    clip = tiny_clip().double()
    clip.load_state_dict({name[5:]: value for name, value in numbers.items() if name.startswith("clip.")})
    head = ClassPrompts(Frozen(clip), texts_of(numbers), Context(4, place, per_class=kind == "per_class")).double()
    context = numbers[f"text.context.{kind}"]
    with torch.no_grad():
        head.context.copy_(context if kind == "per_class" else context[None])
    prompts, theirs = head.prompts(), numbers[f"text.prompts.{place}.{kind}"]
    for row, words, expected in zip(prompts, numbers["text.class_words"].tolist(), theirs, strict=True):
        same(row[: 7 + words], expected[: 7 + words])  # behind it they have padding, which nothing reads
    same(head.features(), numbers[f"text.features.{place}.{kind}"])
    if (place, kind) == ("end", "per_class"):
        same(head(numbers["output.all.time"]), numbers["logits.all.time.end.per_class"])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_without_context_the_features_are_those_of_clip(implementation):
    clip = tiny_clip()
    clip.set_attn_implementation(implementation)
    head = ClassPrompts(Frozen(clip), TEXTS, Context(tokens=0))
    ids = torch.zeros(3, 12, dtype=torch.long)
    for row, name in zip(ids, TEXTS.classes, strict=True):
        row[: len(name) + 3] = torch.tensor([*TEXTS.start, *name, *TEXTS.end])
    assert head.context is None
    assert_close(head.features(), clip.get_text_features(ids).pooler_output)


@pytest.mark.parametrize("per_class", [True, False])
def test_only_context_and_scale_train(per_class):
    head = ClassPrompts(Frozen(tiny_clip()), TEXTS, Context(3, "middle", per_class=per_class))
    head(torch.randn(4, 5, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
        "context": (3 if per_class else 1, 3, 6),
        "logit_scale": (),
    }
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())
    assert all(p.grad is None for p in head.clip.network.parameters())


def test_each_emotion_hears_only_its_own_context():
    head = ClassPrompts(Frozen(tiny_clip()), TEXTS, Context(3))
    before = head.features().detach()
    with torch.no_grad():
        head.context[1, :, 0] += 1  # a norm removes what is added to all numbers of a word
    apart = (head.features() - before).abs().amax(1)
    assert apart[1] > 1e-4
    assert apart[0] == apart[2] == 0


def test_texts_come_from_the_tokenizer_with_one_full_stop(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(save_tiny_clip(tmp_path))
    texts = ClassTexts.of(["joy", "a smiling mouth."], tokenizer)
    assert texts == ClassTexts(((1,), (4, 5, 6)), (38,), (7, 39))


def test_a_text_that_is_too_long_or_empty_is_refused():
    with pytest.raises(ValueError, match="takes 13 tokens with the 8 of context, but the text tower reads 12"):
        ClassPrompts(Frozen(tiny_clip()), TEXTS, Context(tokens=8))
    with pytest.raises(ValueError, match="one of them has no token"):
        ClassPrompts(Frozen(tiny_clip()), ClassTexts(((1,), ()), (38,), (7, 39)), Context(1))
    with pytest.raises(ValueError, match=r"context\.tokens to be at least 0, but got -1"):
        Context(tokens=-1)


def test_cosines_are_scaled_up_to_a_hundred_and_do_not_depend_on_lengths():
    draw = torch.Generator().manual_seed(0)
    z, classes = torch.randn(4, 5, generator=draw), torch.randn(3, 5, generator=draw)
    cosine = torch.nn.functional.cosine_similarity(z[:, None], classes[None], dim=-1)
    assert_close(scaled_cosine(7 * z, classes / 3, torch.tensor(1.0)), torch.e * cosine)
    assert_close(scaled_cosine(z, classes, torch.tensor(9.0)), 100 * cosine)


def test_prototypes_learn_a_direction_per_emotion():
    torch.manual_seed(0)
    head, label = Prototypes(5, 3, logit_scale=2.0), torch.arange(3).repeat(10)
    z = torch.eye(3, 5)[label] + 0.1 * torch.randn(30, 5)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(z), label).backward()
        optimizer.step()
    assert (head(z).argmax(1) == label).all()
