"""The speaker with whom a line begins: ``Ann: Hello.``, ``[SPEAKER_00]: Hello.``, ``(speaker 1) Hello.`` and others.

What is before a colon is a name, or the beginning of a sentence. The rule:

1. After the colon comes a blank or nothing, so that ``10:30`` and ``http://x.y`` are text. A fullwidth colon, and one
   after capitals or after letters without capitals (Chinese, Japanese, Arabic, ...) needs no blank.
2. It is never a name if it is a usual opening (``Note``, ``Remember``, ``PS``, ``Well``), a heading with a number
   (``Chapter 2``), has a pronoun or verb of a sentence (``He said``, ``I told her so``) or its punctuation.
3. It is a name if all its words begin with a capital or a digit, or are particles (``Anna-Lena von der Heide``), or if
   it is a numbered label (``speaker 1``, ``spk_0``).
4. Anything else (``zhang wei``, ``one thing``) is a name in a file in which most lines begin with a name, as those of
   video conferences do, and text in others.
5. ``[ANN] Hi`` may be a name or a sound. It is a name in a file of rule 4, or if its words are before speech more than
   once and never without it (see `names_in_brackets`), and if they are not the words of a sound: ``[MUSIC]``.
6. A number or bullet before the name, and a clock time before or after it, are no part of the name.

The forms are those of whisperX, whisper.cpp, NeMo and pyannote, of Zoom, Teams, Meet and Otter, and of subtitles after
the guides of the BBC and Netflix.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from m2fnet.conversation.sounds import is_sound

LONGEST_NAME = 40
_MOST_WORDS = 6
_NUMBERED = (
    r"(?:speaker|spkr?|person|participant|voice|channel|man|woman|guest|interviewer)[ _-]?(?:#?\d{1,3}|[A-Za-z]|\?)"
)
_OPEN, _CLOSE = r"[\[(（【［]", r"[\])）】］]"
_LABEL = re.compile(rf"{_OPEN}\s*({_NUMBERED})\s*{_CLOSE}\s*[:：]?\s*", re.IGNORECASE)  # (speaker 1), [SPEAKER_00]:
_NUMBER_FIRST = re.compile(r"(SPEAKER_[0-9]{2,3})\s+(?=\S)")  # of pyannote, before the text
_BRACKETS_COLON = re.compile(r"(?:\[([^\[\]]{1,40})\]|\(([^()]{1,40})\)|【([^【】]{1,40})】)\s?[:：]\s*")
_BRACKETS = re.compile(
    r"[\[【［]([^\[\]【】［］:]{1,40})(:?)[\]】］](?:(?<=[】］])(?=\S)|\s+(?=\S)|$)"
)  # [Tom] Let's go
_ROUND = re.compile(r"\(([^():]{1,40})\)\s*(?=\S)")  # (Ann) Hi
_ANGLES = re.compile(r"<([^<>/]{1,40})>\s?:?\s*(?=\S)")  # <Ann> Hi, as in chats
_ORDINAL = re.compile(r"(?:#\d{1,4}|\d{1,4}[.)]|[•·▪‣*])\s+(?=\S)")
_CLOCK = r"[0-9]{1,3}(?::[0-9]{2}){1,2}(?:[.,][0-9]{1,3})?"
_CLOCK_FIRST = re.compile(rf"(?:[\[(]\s*{_CLOCK}\s*[\])]|{_CLOCK}(?=\s))\s*(?:[-–—|]\s+)?(?=\S)")
_CLOCK_BEHIND = re.compile(rf"([^:]{{1,60}}?)\s*([\[(]\s*{_CLOCK}\s*[\])]|\s{_CLOCK})\s?:\s+")  # Ann (00:01): Hi
_QUOTED = re.compile(r"([^「」\s]{1,12})\s?「([^「」]+)」")  # Ann「Hi」, as in Japanese scripts
_LONG_DASH = re.compile(r"([^:—–]{1,40}?)\s[—–]\s+(?=\S)")  # Ann — Hi
_JAPANESE = re.compile(r"（([^（）]{1,10})）\s*(?=.*[\u3040-\u30ff])")  # （健）おはよう, as broadcasters there write
_COLON = re.compile(r"([^:：﹕︰]{1,80}?)\s?(?:(:)(\s+|$)?|[：﹕︰]\s*)")
_MANNER = re.compile(r"\s*(?:\(([^()]*)\)|\[([^\[\]]*)\]|（([^（）]*)）)$")
_MARKDOWN = re.compile(r"^(\*{1,3}|_{1,2})(?=[^\s*_])(.{1,60}?)(?:\1\s?([:：])|([:：])\s?\1)")
_PARTICLES = frozenset((
    "von", "van", "vom", "zu", "zum", "zur", "der", "den", "dem", "des", "de", "da", "di", "du", "do", "dos", "das",
    "la", "le", "les", "lo", "el", "al", "bin", "ibn", "ben", "af", "av", "y", "e", "of", "the", "and", "in", "on",
    "at", "with", "&", "+", "/", "|", "-", "–",
))  # fmt: skip
_OPENINGS = frozenset((
    "note", "notes", "nb", "n.b.", "ps", "p.s.", "pps", "remember", "reminder", "warning", "caution", "attention",
    "danger", "important", "example", "e.g.", "eg", "i.e.", "ie", "hint", "tip", "fact", "update", "correction",
    "edit", "source", "sources", "summary", "translation", "translator", "subtitles", "subtitle", "captions",
    "caption", "url", "http", "https", "ftp", "mailto", "re", "fwd", "subject", "date", "time", "first", "firstly",
    "second", "secondly", "third", "thirdly", "finally", "lastly", "next", "so", "and", "but", "or", "well", "look",
    "listen", "okay", "ok", "yes", "yeah", "no", "nope", "plus", "also", "then", "now", "again", "anyway",
    "actually", "basically", "honestly", "seriously", "meaning", "namely", "result", "results", "conclusion",
    "problem", "question", "questions", "answer", "quote", "unquote", "therefore", "however", "because", "still",
    "besides", "hey", "wait", "see", "what", "why", "how", "who", "when", "where", "which", "achtung", "hinweis",
    "merke", "beispiel", "remarque", "exemple", "nota", "ojo", "ejemplo", "atención", "cuidado", "attenzione", "注意",
    "注", "备注", "備註", "例如", "比如", "提示", "问题", "問題", "记住", "記住", "结果", "結果", "答案",
    "所以", "但是", "就是说", "备忘", "译注",
))  # fmt: skip
_HEADINGS = frozenset((
    "chapter", "part", "episode", "scene", "act", "lesson", "step", "section", "rule", "question", "figure",
    "table", "version", "option", "day", "level", "season", "volume", "page", "number", "week", "year", "round",
    "unit", "phase", "case", "exhibit", "article", "kapitel", "chapitre", "capítulo",
))  # fmt: skip
_SENTENCE = frozenset((
    "i", "you", "he", "she", "it", "we", "they", "me", "him", "us", "them", "my", "your", "his", "its", "our",
    "their", "this", "that", "these", "those", "there", "here", "is", "are", "was", "were", "be", "been", "am",
    "isn", "aren", "wasn", "do", "does", "did", "don", "didn", "has", "have", "had", "will", "would", "can",
    "could", "should", "must", "may", "might", "not", "said", "says", "say", "told", "tells", "asked", "asks",
    "think", "thought", "know", "knew", "mean", "means", "want", "wanted", "let", "lets", "just", "only", "really",
    "very", "if", "because", "self", "myself", "yourself", "ich", "du", "er", "sie", "es", "wir", "ihr", "ist",
    "sind", "war", "sagte", "je", "tu", "il", "elle", "nous", "vous", "est", "sont", "était", "dit",
))  # fmt: skip
_DIRECTIONS = "\u200e\u200f\u202a\u202b\u2066\u2067\u2068"  # of writing, before lines in Arabic and Hebrew
_ABBREVIATION = re.compile(
    r"(?:[A-Z]|[Dd]r|[Mm]rs?|[Mm]s|[Mm]me|[Ss]t|[Pp]rof|[Jj]r|[Ss]r|[Ll]t|[Cc]ol|[Ss]gt|[Cc]apt|[Gg]en|[Rr]ev)\."
)


@dataclass(frozen=True)
class Labelled:
    """A line that begins with its speaker.

    Attributes:
        speaker: None where the tool that wrote the label did not know (``(speaker ?)``).
        text: after the label; may be empty.
        manner: how it is said, such as ``(V.O.)``, which is neither name nor text.
    """

    speaker: str | None
    text: str
    manner: str | None = None


def labelled(line: str, *, is_mostly_named: bool = False, names: Collection[str] = ()) -> Labelled | None:
    """The speaker and the text of a line that begins with its speaker; None if it does not.

    Args:
        line: without dash, and without blanks around it.
        is_mostly_named: whether it is from a file of which `mostly_named` is true.
        names: what `names_in_brackets` finds in its file.

    Example:
        >>> labelled("[SPEAKER_00]: Where have you been?")
        Labelled(speaker='SPEAKER_00', text='Where have you been?', manner=None)
        >>> labelled("JOHN (V.O.): It was late.")
        Labelled(speaker='JOHN', text='It was late.', manner='(V.O.)')
        >>> labelled("He said: no way"), labelled("one thing: go"), labelled("10:30 is fine")
        (None, None, None)
    """
    line = line.lstrip(_DIRECTIONS)
    if (match := _ORDINAL.match(line) or _CLOCK_FIRST.match(line)) is not None:
        label = labelled(line[match.end() :], is_mostly_named=is_mostly_named, names=names)
        return None if label is None else _with_manner(label, match[0])
    if (match := _CLOCK_BEHIND.match(line)) is not None:
        is_bracketed = not match[2].strip()[0].isdigit()
        label = labelled(f"{match[1]}: {line[match.end() :]}", is_mostly_named=is_mostly_named and is_bracketed)
        return None if label is None else _with_manner(label, match[2])
    if (match := _LABEL.match(line)) is not None:
        return Labelled(None if match[1].endswith("?") else match[1], line[match.end() :])
    if (match := _NUMBER_FIRST.match(line)) is not None:
        return Labelled(match[1], line[match.end() :])
    if (match := _BRACKETS_COLON.match(line)) is not None:
        name = next(filter(None, match.groups())).strip()
        has_letters = re.search(r"[^\W\d_]", name) is not None
        return Labelled(name, line[match.end() :]) if has_letters and not is_sound(name) else None
    if (match := _BRACKETS.match(line)) is not None:
        is_before_speech = match.end() < len(line)
        is_known = match[1].strip() in names or (is_mostly_named and is_before_speech)
        is_name = is_known or match[2] == ":" or _is_title(match[1])
        return Labelled(match[1].strip(), line[match.end() :]) if is_name and _may_be_called(match[1]) else None
    if (match := _ROUND.match(line)) is not None and is_mostly_named and _may_be_called(match[1]):
        return Labelled(match[1].strip(), line[match.end() :])
    if (match := _ANGLES.match(line)) is not None:
        is_name = _may_be_called(match[1]) or (is_mostly_named and not is_sound(match[1]) and not _is_text(match[1]))
        return Labelled(match[1].strip(), line[match.end() :]) if is_name else None
    if (match := _JAPANESE.match(line)) is not None:
        return None if is_sound(match[1]) else Labelled(match[1], line[match.end() :])
    if is_mostly_named and (match := _QUOTED.fullmatch(line)) is not None and match[1][-1] not in "はがもとを":
        return Labelled(match[1], match[2])
    if is_mostly_named and (match := _LONG_DASH.match(line)) is not None and _may_be_called(match[1]):
        return Labelled(match[1], line[match.end() :])
    line = _MARKDOWN.sub(lambda match: f"{match[2]}:", line, count=1)
    match = _COLON.match(line)
    if match is None:
        return None
    name, manner = match[1].strip(), None
    if (found := _MANNER.search(name)) is not None and not _belongs_to_name(next(filter(None, found.groups()), "")):
        name, manner = name[: found.start()], found[0].strip()
    is_tight = match[2] is not None and match[3] is None and match.end() < len(line)
    if is_tight and not (name.isupper() and len(name) > 1 and line[match.end()].isalpha()) and not _is_caseless(name):
        return None
    if _is_text(name) or not (_is_name(name) or (is_mostly_named and not is_tight)):
        return None
    return Labelled(name, line[match.end() :], manner)


def mostly_named(lines: Iterable[str]) -> bool:
    """Whether at least half of the lines, and two, begin with what may be a name.

    Example:
        >>> mostly_named(["zhang wei: hello", "Ann Lee: hi", "Me too."]), mostly_named(["one thing: go", "He said: no"])
        (True, False)
    """
    lines = list(lines)
    names = names_in_brackets(lines)
    named = sum(
        labelled(line, names=names) is not None
        or (line[:1] not in ("[", "(") and labelled(line, is_mostly_named=True) is not None)
        for line in lines
    )
    return named >= 2 and 2 * named >= len(lines)


def names_in_brackets(lines: Iterable[str]) -> frozenset[str]:
    """What is in square brackets before speech on two lines or more, and on none without speech, as sounds are.

    Example:
        >>> sorted(names_in_brackets(["[ANN] Hi", "[BANG] Oh", "[ANN] So", "[BANG] No", "[BANG]", "[BOB] No"]))
        ['ANN']
    """
    before: Counter[str] = Counter()
    apart: set[str] = set()
    for line in lines:
        if (match := _BRACKETS.match(line)) is not None and match.end() < len(line):
            before[match[1].strip()] += 1
        elif match is not None:
            apart.add(match[1].strip())
    return frozenset(name for name, count in before.items() if count > 1 and name not in apart)


def is_header_name(text: str) -> bool:
    """Whether a line without colon can be the name of a speaker above what they say: capitals, few words, no sentence.

    Example:
        >>> is_header_name("Ann Lee"), is_header_name("We meet at"), is_header_name("Yes.")
        (True, False, False)
    """
    return not re.search("[:：]", text) and _is_name(text) and not _is_text(text)


def _is_name(name: str) -> bool:
    """Rule 3."""
    if re.fullmatch(_NUMBERED, name, re.IGNORECASE):
        return True
    name = _MANNER.sub("", name)
    surname, comma, first = name.partition(", ")  # as Teams writes it: "Lee, Ann"
    if comma and (len(name.split()) > 5 or not (_is_name(surname) and _is_name(first))):
        return False
    words = name.split()
    return (
        len(name) <= LONGEST_NAME
        and 0 < len(words) <= _MOST_WORDS
        and words[0][0].isalpha()
        and _begins_name(words[0])
        and all(_begins_name(word) or word.lower() in _PARTICLES for word in words)
    )


def _may_be_called(words: str) -> bool:
    """Whether words in brackets can be the name of a person."""
    return _is_name(words.strip()) and not _is_text(words.strip()) and not is_sound(words)


def _with_manner(label: Labelled, manner: str) -> Labelled:
    found = (part.strip() for part in (manner, label.manner or ""))
    return replace(label, manner=" ".join(filter(None, found)))


def _begins_name(word: str) -> bool:
    first = word.lstrip("\"'“‘#(")[:1]
    return first.isdigit() or (first.isalpha() and not first.islower()) or any(map(str.isupper, word))  # iPhone


def _is_text(name: str) -> bool:
    """Rule 2, and what no name looks like."""
    words = [word.strip("\"'“”‘’,()").split("'")[0].split("’")[0] for word in name.casefold().split()]
    if (
        not words
        or not re.match(r"[\"'“‘@]?\w", name)
        or not re.search(r"[^\W\d_]", name)
        or len(name) > LONGEST_NAME
        or len(words) > _MOST_WORDS
    ):
        return True
    if re.search(r"[?!…;\"“”<>=]|\.\.", name) or re.search(r"\.(?:\s|$)", _ABBREVIATION.sub("", name)):
        return True
    if words[0] in _OPENINGS and (len(words) == 1 or name.split()[-1].islower()):
        return True
    if (
        words[0] in _HEADINGS
        and len(words) == 2
        and re.fullmatch(r"#?(?:\d+|[ivx]+|one|two|three|four|five)", words[1])
    ):
        return True
    if _is_caseless(name):
        return bool(re.match(r"[我你您他她它咱]", name) and len(name) > 1) or name.endswith(
            ("说", "説", "說", "問道", "问道")
        )
    return len(words) > 1 and any(word in _SENTENCE for word in words)


def _is_caseless(name: str) -> bool:
    letters = [letter for letter in name if letter.isalpha()]
    return bool(letters) and not any(letter.islower() or letter.isupper() for letter in letters)


def _is_title(words: str) -> bool:
    """Whether every word begins with a capital and is not all capitals, as proper names do in square brackets."""
    return all(word[0].isupper() and not (len(word) > 1 and word.isupper()) for word in words.split()) and _is_name(
        words
    )


def _belongs_to_name(words: str) -> bool:
    """Whether what is in brackets behind a name tells people apart: ``iPhone (2)``, ``Ann (Guest)``, not ``(V.O.)``."""
    return bool(re.search(r"\d", words)) or (_is_title(words) and not is_sound(words))
