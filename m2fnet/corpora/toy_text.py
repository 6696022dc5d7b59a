"""The toy corpus's sentences: a small lexicon per emotion, and many sentences that fit any of them."""

import re

from numpy.random import Generator

# The chance that a sentence is of its emotion's own lexicon, and that it misleads; else it would fit any emotion.
REVEALED, MISLEADING = 0.63, 0.04

_THINGS = (
    "the letter", "the cake", "the car", "the ticket", "the phone", "the sofa", "the coffee", "the dog", "the job",
    "the party", "the ring", "the key", "the game", "the apartment", "the guitar", "the photo", "the wedding",
    "the turkey", "the bike", "the play", "the audition", "the lamp", "the blue coat", "the message",
)  # fmt: skip
_PLACES = ("the office", "the kitchen", "the cafe", "the airport", "the museum", "the corner", "the station", "home")
_TIMES = ("tonight", "on Monday", "this morning", "at noon", "last week", "after lunch", "tomorrow", "at six")

_OPENINGS = {
    "neutral": ("So,", "Well,", "All right,", "By the way,"),
    "joy": ("Yes!", "Oh, lovely!", "This is great!", "Hooray!", "You're the best!"),
    "anger": ("Stop it!", "That's enough!", "Oh, shut up!", "Get out!", "How dare you!"),
    "sadness": ("I'm sorry.", "Oh, no.", "I just can't.", "It hurts.", "Forget it."),
    "surprise": ("What?", "Oh my God!", "No way!", "Wait, seriously?", "Are you kidding?"),
}
_CLAUSES = {
    "neutral": (
        "{thing} is in {place}", "I'll bring {thing} to {place} {time}", "we meet at {place} {time}",
        "they moved {thing} to {place}", "{thing} belongs next to {place}", "I put {thing} there {time}",
        "somebody will pick up {thing} {time}",
    ),
    "joy": (
        "I love {thing}", "{thing} is just wonderful", "I'm so happy about {thing}", "we won {thing} {time}",
        "{thing} was so much fun {time}", "what a beautiful surprise {time}", "this is the best day at {place}",
    ),
    "anger": (
        "I'm sick of {thing}", "you ruined {thing} {time}", "I hate it when you take {thing}",
        "you always lie about {thing}", "keep your hands off {thing}", "this is so unfair, and you know it",
        "I never want to see {thing} at {place} again",
    ),
    "sadness": (
        "I miss {thing} so much", "I lost {thing} {time}", "I feel so alone at {place}", "she left me {time}",
        "nothing is the same without {thing}", "I could cry about {thing}", "I'll never get {thing} back",
    ),
    "surprise": (
        "I can't believe {thing} is here", "since when do you have {thing}", "{thing} is where",
        "you found {thing} at {place}", "how did {thing} get to {place}", "I had no idea about {thing}",
        "did that really happen {time}",
    ),
}  # fmt: skip
_ANYBODY = (
    "Did you see {thing}?", "Look at {thing}.", "Tell me about {thing}.", "So this is {thing}.", "You did that {time}.",
    "I was at {place} {time}.", "That is what I said.", "You know {thing}.", "It was {time}, at {place}.", "Okay.",
    "I know, I know.", "Well, here we are.", "Then {thing} came {time}.", "You went to {place} {time}.", "Yeah.",
    "And then you talked about {thing}.", "It's {thing} again.", "Really.", "I guess so.", "There it is.", "Listen.",
)  # fmt: skip
_ENDS = {"neutral": (".",), "joy": ("!", "."), "anger": ("!", "."), "sadness": ("...", "."), "surprise": ("?", "?!")}


def sentence(emotion: str, rng: Generator) -> str:
    """What somebody says in ``emotion``: often telling, often of no emotion in particular, rarely misleading."""
    chance = rng.random()
    if chance < MISLEADING:
        emotion = str(rng.choice(list(_CLAUSES)))
    elif chance > MISLEADING + REVEALED:
        return _filled(_ANYBODY[rng.integers(len(_ANYBODY))], rng)
    clause = _filled(_CLAUSES[emotion][rng.integers(len(_CLAUSES[emotion]))], rng) + str(rng.choice(_ENDS[emotion]))
    opening = str(rng.choice(_OPENINGS[emotion])) + " " if rng.random() < 0.5 else ""
    keeps_case = opening.endswith(", ") or clause.startswith(("I ", "I'"))
    return opening + (clause if keeps_case else clause[0].upper() + clause[1:])


def typographic(text: str, rng: Generator) -> str:
    """``text`` as a word processor would write it: curly apostrophes, ellipsis, dash and a no-break space."""
    text = text.replace("'", "’").replace("...", "…").replace(", ", " – ", 1)
    words = [m.start() for m in re.finditer(" ", text)]
    if words:
        place = int(rng.choice(words))
        text = text[:place] + "\N{NO-BREAK SPACE}" + text[place + 1 :]
    return text if re.search("[’…–]", text) else f"“{text}”"


def _filled(template: str, rng: Generator) -> str:
    words = {"thing": _THINGS, "place": _PLACES, "time": _TIMES}
    return template.format(**{name: choices[rng.integers(len(choices))] for name, choices in words.items()})
