"""The toy corpus's plot: who speaks when, in which emotion, and how emotions flow from one utterance to the next."""

from dataclasses import dataclass

from numpy.random import Generator

from m2fnet.corpora.label_sets import TOY
from m2fnet.corpora.meld import CLIP_FOLDERS
from m2fnet.corpora.toy_face import HairStyle, Look
from m2fnet.corpora.toy_text import sentence
from m2fnet.corpora.toy_voice import Voice
from m2fnet.records import Split

EMOTIONS = TOY.classes
_PRIOR = (0.46, 0.15, 0.13, 0.13, 0.13)

# In an utterance, the speaker keeps the last emotion, or catches the one of the previous utterance, or starts afresh.
_KEEPS, _CATCHES = 0.65, 0.25
_CAUGHT = {
    "neutral": ("neutral", "neutral", "neutral", "neutral", "surprise"),
    "joy": ("joy", "joy", "joy", "surprise"),
    "anger": ("anger", "anger", "anger", "sadness"),
    "sadness": ("sadness", "sadness", "sadness", "neutral"),
    "surprise": ("joy", "surprise", "anger"),
}
_SENTIMENTS = {"neutral": ("neutral",), "joy": ("positive",), "anger": ("negative",), "sadness": ("negative",)}
_CAST: dict[str, HairStyle] = {
    "Ada": "long", "Bruno": "short", "Clara": "bun", "Dmitri": "parted", "Elif": "long",
    "Farid": "bald", "Grace": "bun", "Hugo": "short", "Ines": "long", "Jonas": "parted",
}  # fmt: skip
_EPISODES_PER_SEASON = 24

# The chance that voice and face show the emotion; else they show any.
_VOICE_SHOWS, _FACE_SHOWS = 0.62, 0.64
_TWO_FACES, _NO_FACE = 0.12, 0.08


@dataclass(frozen=True)
class Person:
    """Somebody of the cast."""

    name: str
    voice: Voice
    look: Look


@dataclass(frozen=True)
class Shot:
    """Everything that can be seen and heard in a clip.

    Attributes:
        speaker: who talks.
        listener: who else is in the picture, or None.
        is_faceless: whether the face of the speaker cannot be seen: from behind, or out of the picture.
        voice_emotion: what the voice expresses; not always what the speaker feels.
        face_emotion: what the face expresses; not always what the speaker feels.
        seconds: length of the clip.
        room: number of the room, which decides its colours and furniture.
        seed: of everything else that is random.
    """

    speaker: Person
    listener: Person | None
    is_faceless: bool
    voice_emotion: str
    face_emotion: str
    seconds: float
    room: int
    seed: int


@dataclass(frozen=True)
class Line:
    """One row of MELD's table with the clip that belongs to it. Times are in seconds on the episode's clock."""

    split: Split
    dialogue: int
    utterance: int
    speaker: str
    text: str
    emotion: str
    sentiment: str
    season: int
    episode: int
    start_s: float
    end_s: float
    shot: Shot
    hour_digits: int = 2
    encoding: str = "utf-8"

    @property
    def clip(self) -> str:
        """Path of the clip under the corpus root."""
        return f"{CLIP_FOLDERS[self.split]}/dia{self.dialogue}_utt{self.utterance}.mp4"


Scene = list[Line]
Script = dict[Split, list[Scene]]


def write_script(dialogues: dict[Split, int], rng: Generator) -> Script:
    """So many dialogues per split, all of one cast, each in a separate episode."""
    cast = [Person(name, Voice.draw(rng), Look.draw(style, rng)) for name, style in _CAST.items()]
    script: Script = {}
    number = 0
    for split, count in dialogues.items():
        script[split] = []
        for dialogue in range(count):
            script[split].append(_scene(split, dialogue, number, cast, rng))
            number += 1
    return script


def flow(speakers: list[str], rng: Generator) -> list[str]:
    """One emotion per utterance, given its speaker: moods last, and spread from one utterance to the next."""
    emotions: list[str] = []
    mood: dict[str, str] = {}
    for speaker in speakers:
        chance = rng.random()
        if speaker in mood and chance < _KEEPS:
            emotion = mood[speaker]
        elif emotions and chance < _KEEPS + _CATCHES:
            emotion = str(rng.choice(_CAUGHT[emotions[-1]]))
        else:
            emotion = str(rng.choice(EMOTIONS, p=_PRIOR))
        mood[speaker] = emotion
        emotions.append(emotion)
    return emotions


def _scene(split: Split, dialogue: int, number: int, cast: list[Person], rng: Generator) -> Scene:
    people = [cast[n] for n in rng.choice(len(cast), size=rng.integers(2, 5), replace=False)]
    order = _speaking_order(people, int(rng.integers(3, 11)), rng)
    emotions = flow([person.name for person in order], rng)
    clock = float(rng.uniform(10, 3_000))
    lines = []
    for utterance, (speaker, emotion) in enumerate(zip(order, emotions, strict=True)):
        text = sentence(emotion, rng)
        others = [person for person in people if person is not speaker]
        shot = _shot(speaker, others, emotion, text, number, rng)
        start, end = round(clock, 3), round(clock + shot.seconds, 3)
        clock = end + float(rng.uniform(0.1, 1.0))
        lines.append(
            Line(
                split=split,
                dialogue=dialogue,
                utterance=utterance,
                speaker=speaker.name,
                text=text,
                emotion=emotion,
                sentiment=str(rng.choice(_SENTIMENTS.get(emotion, ("positive", "negative")))),
                season=1 + number // _EPISODES_PER_SEASON,
                episode=1 + number % _EPISODES_PER_SEASON,
                start_s=start,
                end_s=end,
                shot=shot,
            )
        )
    return lines


def _speaking_order(people: list[Person], count: int, rng: Generator) -> list[Person]:
    """Speakers of ``count`` utterances; the floor nearly always passes to somebody else."""
    order = [people[0]]
    while len(order) < count:
        stays = rng.random() < 0.15
        others = [person for person in people if person is not order[-1]]
        order.append(order[-1] if stays else others[rng.integers(len(others))])
    return order


def _shot(speaker: Person, others: list[Person], emotion: str, text: str, room: int, rng: Generator) -> Shot:
    faces = rng.random()
    words = len(text.split())
    return Shot(
        speaker=speaker,
        listener=others[rng.integers(len(others))] if faces < _TWO_FACES else None,
        is_faceless=bool(faces > 1 - _NO_FACE),
        voice_emotion=emotion if rng.random() < _VOICE_SHOWS else str(rng.choice(EMOTIONS)),
        face_emotion=emotion if rng.random() < _FACE_SHOWS else str(rng.choice(EMOTIONS)),
        seconds=round(min(2.0, 0.75 + 0.09 * words + float(rng.uniform(0, 0.3))), 3),
        room=room,
        seed=int(rng.integers(2**31)),
    )
