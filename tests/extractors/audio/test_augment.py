"""Every augmentation does what its name says, by the amount asked for, and the same for the same seed."""

import math
from itertools import pairwise

import pytest
import torch
from torchaudio.functional import phase_vocoder

from extractors.audio.augment import (
    Augment,
    RandomValue,
    SpecAugment,
    add_noise,
    augment_waveforms,
    pitch_shift,
    random_crop,
    spec_augment,
    time_shift,
    time_stretch,
    time_warp,
)
from extractors.audio.log_mel import LogMel

RATE = 16_000
EVERYTHING = Augment(
    stretch=RandomValue(0.5, 0.8, 1.25),
    shift=RandomValue(0.5, -0.1, 0.1),
    gain=RandomValue(0.5, -6, 6),
    noise=RandomValue(0.5, 5, 40),
    pitch=RandomValue(0.5, -3, 3),
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hertz, seconds=1.0):
    return torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * RATE)) / RATE)


def test_a_cut_is_a_stretch_of_the_clip_and_never_padding():
    samples = torch.arange(1.0, 301).reshape(2, 150)
    lengths = torch.tensor([150, 120])
    pieces = random_crop(samples, lengths, torch.tensor([40, 30]), seeded())
    assert pieces.shape == (2, 40)
    assert (pieces[0].diff() == 1).all()
    assert (pieces[1, :30].diff() == 1).all()
    assert pieces[1].max() <= 270


def test_cuts_reach_both_ends_of_a_clip():
    samples = torch.arange(5.0).expand(400, -1)
    assert set(random_crop(samples, torch.full((400,), 5), torch.full((400,), 3), seeded())[:, 0].tolist()) == {0, 1, 2}


def test_a_clip_that_is_too_short_goes_round():
    samples = torch.tensor([[7.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    one, three = random_crop(samples, torch.tensor([1, 3]), torch.tensor([7, 7]), seeded())
    assert one.tolist() == [7.0] * 7
    assert all(after == before % 3 + 1 for before, after in pairwise(three.tolist()))


def test_a_time_shift_moves_each_clip_by_its_seconds():
    samples = torch.arange(16_000.0).expand(2, -1)
    moved = time_shift(samples, torch.tensor([[0.25], [-0.5]]))
    assert moved[:, 0].tolist() == [12_000, 8_000]


def test_noise_has_the_ratio_asked_for():
    clean = tone(300).expand(3, -1)
    noise = add_noise(clean, torch.tensor([[0.0], [20.0], [math.inf]]), seeded()) - clean
    ratio = 10 * torch.log10(clean.square().mean(1) / noise.square().mean(1))
    torch.testing.assert_close(ratio[:2], torch.tensor([0.0, 20.0]), atol=0.2, rtol=0)
    assert (noise[2] == 0).all()


@pytest.mark.parametrize("semitones", [-5.0, 3.5, 12.0])
def test_a_pitch_moves_by_the_semitones_asked_for(semitones):
    low, high = pitch_shift(tone(400).expand(2, -1), torch.tensor([[0.0], [semitones]]))
    assert torch.equal(low, tone(400))
    assert high.shape == (RATE,)
    assert torch.fft.rfft(high).abs().argmax().item() == pytest.approx(400 * 2 ** (semitones / 12), abs=1.5)


def test_a_pitch_shift_keeps_the_tempo():
    twice = torch.cat([tone(400, 0.5), torch.zeros(RATE // 2)])[None]
    first, second = pitch_shift(twice, torch.tensor([[4.0]]))[0].split(RATE // 2)
    assert second.square().mean() < 0.02 * first.square().mean()


def test_the_shortest_crop_has_its_pitch_moved_without_a_warning(recwarn):
    assert torch.isfinite(pitch_shift(tone(400, 0.1)[None], torch.tensor([[2.0]]))).all()
    assert not [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)]


def test_silence_stays_silence():
    assert (add_noise(torch.zeros(1, 100), torch.tensor([[5.0]]), seeded()) == 0).all()


@pytest.mark.parametrize("tempo", [0.8, 1.0, 1.3])
def test_a_stretch_is_torchaudios_phase_vocoder(tempo):
    samples = torch.randn(1, RATE, generator=seeded())
    size = int(RATE / 1.4)
    window = torch.hann_window(512)
    frames = torch.stft(samples, 512, 128, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, math.pi * 128, 257)[:, None]
    expected = torch.istft(phase_vocoder(frames, tempo, advance), 512, 128, window=window)[:, :size]
    found = time_stretch(samples, torch.tensor([[tempo, tempo]]), size)
    inner = slice(0, size - 512)  # the reference continues after the end
    torch.testing.assert_close(found[:, inner], expected[:, inner], atol=2e-3, rtol=0)


def test_a_stretch_changes_the_tempo_and_keeps_the_pitch():
    twice = torch.cat([tone(440, 0.5), tone(880, 0.5)])[None]
    fast = time_stretch(twice, torch.tensor([[1.25, 1.25]]), 12_000)
    peaks = [RATE / 4_000 * torch.fft.rfft(part).abs().argmax().item() for part in fast[0].split(4_000)]
    assert peaks[0] == 440
    assert peaks[2] == 880
    crossing = slice(6_400 - 800, 6_400 + 800)  # half a second at a tempo of 1.25
    before, after = fast[0, crossing].split(800)
    assert torch.fft.rfft(before).abs().argmax() == 22
    assert torch.fft.rfft(after).abs().argmax() == 44


def test_time_is_warped_when_the_tempo_glides():
    clicks = torch.zeros(1, 20_000)
    clicks[0, 1_000::2_000] = 1.0
    found = time_stretch(clicks, torch.tensor([[0.8, 1.2]]), 16_000)[0].abs()
    places = [p for p in range(200, 15_800) if found[p] > 0.2 and found[p] == found[p - 200 : p + 200].max()]
    gaps = torch.tensor(places).diff()
    assert len(gaps) >= 5
    assert gaps[0] > 2_000 > gaps[-1]


def test_frames_are_read_where_the_tempo_has_come_to():
    frames = torch.arange(20.0)[None, :, None].expand(3, -1, 2)
    tempos = torch.tensor([[1.0, 1.0], [1.5, 1.5], [0.5, 1.5]])
    same, fast, gliding = time_warp(frames, tempos, 10)[..., 0]
    assert same.tolist() == list(range(10))
    assert fast.tolist() == [1.5 * n for n in range(10)]
    torch.testing.assert_close(gliding, torch.tensor([0.5 * n + n * n / 20 for n in range(10)]))
    assert (time_warp(frames, 5 * tempos, 10)[0, 4:] == 19).all()  # after the end its last frame is repeated


def test_frames_and_sound_are_stretched_to_the_same_places():
    sound = torch.cat([torch.zeros(8_000), tone(1_000, 0.5), torch.zeros(8_000)])[None]
    tempos, lengths = torch.tensor([[1.25, 0.9]]), torch.tensor([20_000])
    by_frames = LogMel(channels="copy")(sound, lengths, tempos)[0][0, 0].amax(0)
    by_sound = LogMel(channels="copy")(time_stretch(sound, tempos, 20_000), lengths)[0][0, 0].amax(0)
    assert by_frames.shape == by_sound.shape
    for is_loud in (by_frames > 0, by_sound > 0):
        assert is_loud.diff().sum() == 2
    edges = [(loud > 0).diff().nonzero().flatten() for loud in (by_frames, by_sound)]
    assert (edges[0] - edges[1]).abs().max() <= 3  # of 10 ms, within a window


def test_masks_hide_stripes_by_their_mean():
    features = torch.randn(50, 3, 20, 30, generator=seeded())
    result = spec_augment(features, SpecAugment(1.0, bands=4, frames=6), seeded())
    is_hidden = (result != features).any(1)
    assert (is_hidden.all(2).sum(1) <= 4).all()
    assert (is_hidden.all(1).sum(1) <= 6).all()
    assert is_hidden.any((1, 2)).sum() > 40
    mean = features.mean((2, 3), keepdim=True).expand_as(features)
    hidden = is_hidden[:, None].expand_as(features)
    assert torch.equal(result[hidden], mean[hidden])


def test_masks_larger_than_the_spectrogram_are_cut():
    assert torch.isfinite(spec_augment(torch.randn(4, 3, 5, 2), SpecAugment(1.0, 100, 100, 3), seeded())).all()


def test_a_chance_takes_its_share_and_keeps_to_its_range():
    values = RandomValue(0.25, 2.0, 3.0).draw(4_000, 9.0, seeded(), values=2)
    is_chosen = values[:, 0] != 9.0
    assert torch.equal(is_chosen, values[:, 1] != 9.0)
    assert 0.22 < is_chosen.float().mean() < 0.28
    assert ((values[is_chosen] >= 2) & (values[is_chosen] <= 3)).all()
    assert (values[is_chosen, 0] != values[is_chosen, 1]).any()


def test_the_same_seed_gives_the_same_sound_and_another_seed_another():
    samples = torch.randn(4, 5_000, generator=seeded())
    lengths = torch.tensor([5_000, 4_000, 900, 1])
    first, again, other = (
        time_stretch(*augment_waveforms(samples, lengths, 3_200, EVERYTHING, seeded(n)), 3_200) for n in (1, 1, 2)
    )
    assert first.shape == (4, 3_200)
    assert torch.equal(first, again)
    assert (first[:3] != other[:3]).any(1).all()
    assert torch.isfinite(first).all()


def test_without_augmentation_a_clip_is_only_cut():
    samples = torch.arange(50.0)[None]
    never = Augment(**dict.fromkeys(("stretch", "shift", "gain", "noise", "pitch"), RandomValue(0.0, 1.0, 2.0)))
    for augment in (Augment(), never):
        sound, tempos = augment_waveforms(samples, torch.tensor([50]), 50, augment, seeded())
        assert torch.equal(sound, samples)
        assert (tempos == 1).all()


@pytest.mark.parametrize("wrong", [(1.5, 0, 1), (0.5, 2, 1), (0.5, 0, math.inf), (0.5, math.nan, 1)])
def test_senseless_chances_are_refused(wrong):
    with pytest.raises(ValueError, match=r"probability in 0\.\.1 and low <= high"):
        RandomValue(*wrong)


def test_senseless_tempos_and_masks_are_refused():
    with pytest.raises(ValueError, match="tempos above 0"):
        Augment(stretch=RandomValue(0.5, 0.0, 1.0))
    with pytest.raises(ValueError, match="sizes of at least 0"):
        SpecAugment(0.5, -1, 3)
