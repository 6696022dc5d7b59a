"""Layers by their settings, frames of several utterances pooled, long inputs in parts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extractors.layers.hidden_states import layer_numbers
from extractors.layers.readout import Readout, parts, pooled

LENGTHS = torch.tensor([4, 1, 7])


def frames_of(width=3):
    return torch.randn(int(LENGTHS.sum()), width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("pooling", "formula"),
    [
        ("mean", lambda rows: rows.mean(0)),
        ("first", lambda rows: rows[0]),
        ("last", lambda rows: rows[-1]),
        ("mean_std", lambda rows: torch.cat([rows.mean(0), rows.std(0, correction=0).clamp_min(1e-5)])),
    ],
)
def test_every_utterance_is_pooled_separately(pooling, formula):
    frames = frames_of()
    expected = torch.stack([formula(rows) for rows in frames.split(LENGTHS.tolist())])
    torch.testing.assert_close(pooled(frames, LENGTHS, pooling), expected)


def test_attention_is_a_softmax_over_the_frames_of_an_utterance():
    query = torch.nn.Linear(3, 1, bias=False).double()
    frames = frames_of() * 50  # so that a softmax without its maximum taken away would overflow
    expected = [(query(rows)[:, 0].softmax(0)[:, None] * rows).sum(0) for rows in frames.split(LENGTHS.tolist())]
    torch.testing.assert_close(
        pooled(frames, LENGTHS, "attention", query), torch.stack(expected), check_dtype=False, atol=1e-4, rtol=1e-5
    )


def test_deviation_has_a_gradient_where_nothing_changes():
    frames = torch.ones(3, 2, requires_grad=True)
    pooled(frames, torch.tensor([3]), "mean_std").sum().backward()
    assert torch.isfinite(frames.grad).all()


@pytest.mark.parametrize("combine", ["average", "concatenate", "learned"])
def test_layers_are_combined(combine):
    states = {number: torch.full((2, 3), float(number)) for number in range(3)}
    readout = Readout([2, 0], combine, "mean", depth=2, width=3)
    vectors = readout(states, torch.tensor([1, 1]))
    assert vectors.shape == (2, readout.width)
    expected = [2.0, 2, 2, 0, 0, 0] if combine == "concatenate" else [1.0, 1, 1]
    assert vectors[0].tolist() == expected


def test_learned_weights_of_layers_are_a_softmax_with_a_scale():
    readout = Readout("all", "learned", "mean", depth=1, width=1)
    with torch.no_grad():
        readout.layer_weights.copy_(torch.tensor([0.0, 3.0]).log1p())
        readout.layer_scale.fill_(2.0)
    assert readout({0: torch.ones(1, 1), 1: 6 * torch.ones(1, 1)}, torch.tensor([1])).item() == pytest.approx(10)


def test_frames_stay_a_sequence():
    readout = Readout(0, "average", "frames", depth=1, width=3)
    assert [len(rows) for rows in readout({0: frames_of()}, LENGTHS)] == LENGTHS.tolist()


@pytest.mark.parametrize("layers", [4, -5, [], [1, 1], [0, -4], "1-9", "3-1", "-1", "some", ""])
def test_layers_that_the_encoder_does_not_have_are_refused(layers):
    with pytest.raises(ValueError, match=r"layers to be a number from -4 to 3"):
        layer_numbers(layers, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("auto", "learned", "mean"), "auto is chosen by a probe"),
        (("auto", "average", "frames"), "auto is chosen by a probe"),
        ((2, "learned", "mean"), "learned weighs several layers, but layers is 2"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Readout(*settings, depth=2, width=4)


@given(st.integers(1, 300), st.integers(4, 60), st.data())
def test_parts_cover_everything_once_with_company(length, size, data):
    overlap = data.draw(st.integers(0, size // 2))
    found = parts(length, size, overlap)
    counted = [place for _, counts in found for place in range(length)[counts]]
    assert counted == list(range(length))
    for read, counts in found:
        assert read.start <= counts.start < counts.stop <= read.stop
        assert read.stop - read.start == min(size, length)
        assert counts.start == 0 or counts.start - read.start >= overlap // 2
        assert counts.stop == length or read.stop - counts.stop >= overlap // 2
