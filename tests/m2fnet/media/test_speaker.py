"""Who speaks: the mouth that moves with the sound, whoever nods or chews; otherwise the largest face."""

import numpy as np
import pytest
import torch
from PIL import Image

from m2fnet.corpora.toy_face import EXPRESSIONS, LEFT, TOP, Look, draw_head
from m2fnet.media.faces import Face
from m2fnet.media.speaker import follow, largest, loudness_at, mouth_motion, speaking

FRAMES = 12
SWELL = [abs(float(np.sin(0.8 * number))) for number in range(FRAMES)]
STILL = [0.0] * FRAMES


def scene(actors, light=0):
    """Frames and their faces; an actor is the half width of the head, its column, and per frame mouth and sway."""
    rng = np.random.default_rng(0)
    looks = [Look.draw("short", rng) for _ in actors]
    frames, faces = [], []
    for number in range(FRAMES):
        picture = Image.new("RGB", (320, 180), (120 + light * number,) * 3)
        found = []
        for look, (unit, column, mouth, sway) in zip(looks, actors, strict=True):
            head = draw_head(look, unit, [EXPRESSIONS["neutral"].talking(mouth[number])])[0]
            x, y = column + round(sway[number]), 80
            picture.paste(head, (round(x + LEFT * unit), round(y + TOP * unit)), head)
            found.append(Face((x - unit, y - unit, x + unit, round(y + 1.3 * unit)), 1.0))
        frames.append(np.asarray(picture))
        faces.append(found)
    return torch.from_numpy(np.stack(frames)), faces


def speaker_of(actors, loudness):
    frames, faces = scene(actors)
    tracks = follow(faces)
    assert len(tracks) == len(actors)
    left, _, right, _ = speaking(tracks, frames, torch.tensor(loudness))[0].box
    return [left <= column < right for _, column, _, _ in actors].index(True)


def test_the_mouth_that_moves_speaks_however_small_the_face():
    assert speaker_of([(36, 80, STILL, STILL), (22, 240, SWELL, STILL)], SWELL) == 1
    assert speaker_of([(36, 80, SWELL, STILL), (22, 240, STILL, STILL)], SWELL) == 0


def test_whoever_moves_the_head_does_not_speak():
    nod = [3.0 * (number % 2) for number in range(FRAMES)]
    assert speaker_of([(36, 80, STILL, nod), (26, 240, SWELL, STILL)], SWELL) == 1


def test_whoever_chews_while_it_is_silent_does_not_speak():
    half = FRAMES // 2
    loudness = [0.0] * half + [0.3] * half
    chews, talks = SWELL[:half] + STILL[half:], STILL[:half] + SWELL[half:]
    assert speaker_of([(36, 80, chews, STILL), (26, 240, talks, STILL)], loudness) == 1
    assert speaker_of([(36, 80, talks, STILL), (26, 240, chews, STILL)], loudness) == 0


@pytest.mark.parametrize(("mouth", "loudness"), [(STILL, SWELL), (SWELL, STILL)])
def test_without_a_moving_mouth_or_a_sound_the_largest_face_speaks(mouth, loudness):
    assert speaker_of([(22, 80, mouth, STILL), (36, 240, STILL, STILL)], loudness) == 1


def test_when_all_talk_the_largest_speaks():
    assert speaker_of([(26, 80, SWELL, STILL), (34, 240, SWELL, STILL)], SWELL) == 1


def test_a_light_that_changes_is_no_motion():
    frames, faces = scene([(30, 160, STILL, STILL)])
    ramp = torch.arange(FRAMES, dtype=torch.uint8)[:, None, None, None] * 4
    (track,) = follow(faces)
    assert abs(mouth_motion(track, frames // 2 + ramp, torch.ones(FRAMES))) < 0.01


def at(*columns):
    return [Face((column, 10, column + 40, 50), 1.0) for column in columns]


def test_faces_are_followed_through_gaps_and_one_track_has_one_face_per_frame():
    tracks = follow([at(0, 100), at(5, 104), at(108), at(12, 112, 20)])
    assert [sorted(track) for track in tracks] == [[0, 1, 3], [0, 1, 2, 3], [3]]
    assert [track[3].box[0] for track in tracks] == [12, 112, 20]


def test_nothing_is_followed_where_there_is_nothing():
    assert follow([]) == follow([[], []]) == []


def test_the_largest_track_has_the_most_area_over_time():
    brief, long = Face((0, 0, 60, 60), 1.0), Face((100, 0, 140, 40), 1.0)
    tracks = follow([[brief, long], [long], [long]])
    assert largest(tracks) == {0: long, 1: long, 2: long}


def test_a_face_at_the_edge_of_one_pixel_is_compared_too():
    track = {0: Face((0, 0, 1, 1), 1.0), 1: Face((0, 0, 1, 1), 1.0)}
    assert np.isfinite(mouth_motion(track, torch.zeros(2, 5, 5, 3, dtype=torch.uint8), torch.ones(2)))


def test_loudness_is_the_root_mean_square_around_each_time():
    sound = torch.cat([torch.zeros(1000), torch.full((1000,), 0.5), torch.full((1000,), -0.25)])
    levels = loudness_at(sound, 1000, torch.tensor([0.5, 1.0, 1.5, 2.5, 3.0, 9.0]))
    expected = torch.tensor([0, 0.5 / 2**0.5, 0.5, 0.25, 0.25 / 2**0.5, 0])
    torch.testing.assert_close(levels, expected)
