"""Words that the project does not write, in sources, messages, pages and tests: one word for one thing, plain English.

A word with a legitimate use is excepted below: by a pattern in ``ELSEWHERE`` if the use is English, by a file and a
phrase in ``EXCEPTED`` otherwise. For one folder: ``pytest tests/test_words.py -k m2fnet/store``.
"""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PLACES = (
    "*.md", "*.toml", "*.yml", "Makefile", "CITATION.cff", ".ci/run", ".pre-commit-config.yaml", "conf/**/*.yaml",
    "docs/*.md", "docs/*.py", "docs/*.svg",
    "notebooks/*.py", "notebooks/*.ipynb", "tests/**/*.py", "bench/*.py", "m2fnet/**/*.py",
    "m2fnet/**/*.html", "m2fnet/**/*.css", "m2fnet/**/*.js", "extractors/**/*.py", "dialog/**/*.py",
)  # fmt: skip

# the word, in text and as a part of a name such as `next_turn`, and what to write instead
WORDS = {
    "turns?": "utterance; the verb is fine before 'into', 'on', 'off'",
    "alone": "only",
    "beside": "next to, with, in the same folder as, except",
    "by itself|by themselves": "automatically, separately",
    "of (its|their|one's) own": "own, separate",
    "goes on|go on": "continues, resumes",
    "lies?": "is, are",
    "stands?": "is, are",
    "told by": "from, read from",
    "left out": "skipped, masked, dropped",
    "at once": "immediately, together",
    "side by side": "next to each other, concatenated, compared",
    "counted through": "numbered",
}
# names of functions, classes and variables that say nothing to a stranger
NAMES = {
    "told": "result, output",
    "say": "print_..., message",
    "judge": "evaluate, score",
    "judging": "evaluation",
    "looking": "the thing that is looked at",
    "answering": "worker",
    "keep": "select, save, is_...",
}
# uses of these words that are plain English
ELSEWHERE = (
    r"\bturns?\s+(?:(?!turn)\S+\s+){1,6}?into\b",
    r"\bturns?\s+(?:\S+\s+)?(on|off)\b",
    r"\b(in turn|return)\b",
    r"\bstands? for\b",  # an abbreviation or a placeholder
)
# phrases that are not ours to change
EXCEPTED: dict[str, tuple[str, ...]] = {
    # the setting of the angle by which pictures are rotated
    "conf/extractors/visual_face.yaml": (r"\bturn:",),
    "extractors/visual/augmentation.py": (r"\bturn\b",),
    "tests/extractors/visual/test_augmentation.py": (r"\bturn\b",),
    "bench/_gpu.py": (r"\bturn=",),
    "m2fnet/runs/attention.py": (r'content\["turns"\]',),  # the key in the files of older runs
    "m2fnet/corpora/toy_text.py": ("you always lie about", "I feel so alone"),  # texts of a corpus with scores
    "tests/helpers/fake_corpora.py": ("TURN_NAME",),  # in the header of IEMOCAP's files
}


def files():
    """The files that people read, by their path in the repository."""
    found = {path for pattern in PLACES for path in REPOSITORY.glob(pattern)} - {Path(__file__)}
    return sorted(str(path.relative_to(REPOSITORY)) for path in found if not {"__pycache__", ".venv"} & {*path.parts})


def in_the_text(text, excepted=()):
    """``(line, word, what to write instead)`` for every word of `WORDS`, in lower case, in the order of the text."""
    for pattern in (*ELSEWHERE, *excepted):
        text = re.sub(pattern, lambda found: re.sub(r"[^\n]", "·", found[0]), text, flags=re.IGNORECASE)
    spaced = re.sub(r"\\n|[#*\"'`]", lambda found: " " * len(found[0]), text)
    # a word ends at an underscore or a capital letter too, and a phrase may go over the end of a line
    words = {
        re.compile(rf"(?<![A-Za-z])(?i:{spelled})(?![a-z])|(?<=[a-z])(?:{word.title()})(?![a-z])"): instead
        for word, instead in WORDS.items()
        for spelled in [word.replace(" ", r"\s+")]
    }
    found = [
        (text.count("\n", 0, match.start()) + 1, re.sub(r"\s+", " ", match[0].lower()), instead)
        for word, instead in words.items()
        for match in word.finditer(spaced)
    ]
    return sorted(found)


def in_the_names(source):
    """The same for the names that Python source defines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = (
            node.name if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
            else node.arg if isinstance(node, ast.arg)
            else node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            else ""
        ).strip("_").lower()  # fmt: skip
        if name in NAMES:
            found.append((node.lineno, f"the name {name}", NAMES[name]))
    return sorted(found)


def findings(path):
    """What is to be changed in a file, one sentence each."""
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    found = in_the_text(text, EXCEPTED.get(path, ()))
    if path.endswith(".py"):
        found += in_the_names(text)
    return [f"{path}:{line}: {word} -> {instead}" for line, word, instead in sorted(found)]


@pytest.mark.parametrize("path", files())
def test_a_file_is_in_plain_words(path):
    found = findings(path)
    assert not found, "\n".join(found)


def test_an_exception_is_still_needed():
    stale = [
        f"{path}: {phrase}"
        for path, phrases in EXCEPTED.items()
        for phrase in phrases
        if not re.search(phrase, (REPOSITORY / path).read_text(encoding="utf-8"))
    ]
    assert stale == []


def test_words_are_found_in_text_and_in_names():
    text = "Each turn\nturns a clip into sound.\nHe goes\non. `next_turn` in SpokenTurns, returned; NextTurn.\n"
    assert [(line, word) for line, word, _ in in_the_text(text)] == [
        (1, "turn"), (3, "goes on"), (4, "turn"), (4, "turn"), (4, "turns")
    ]  # fmt: skip
    assert in_the_names("def f(told):\n    say = told\n") == [
        (1, "the name told", NAMES["told"]),
        (2, "the name say", NAMES["say"]),
    ]
    assert in_the_text("It stands for padding, and standalone; upside, inside.") == []
