"""The text of a file whose encoding nobody wrote down: subtitles, transcripts, and tables of spreadsheets.

Excel saves a `.csv` in the encoding of the country, and in that of DOS or of old Macs if the user chooses so.
"""

import codecs
import re
from dataclasses import dataclass
from operator import itemgetter

from charset_normalizer import from_bytes

from m2fnet.errors import M2FNetError

_MARK = "\ufeff"
_MARKS = (  # the longer ones first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WESTERN = ("àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü", "ãõáàâçéêíóôú", "àèéìíòóùú", "åäöéæøü", "áðéíóúýþæö", "ëïéèüöó")
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áéíóöőúüű", "ăâîşţ", "čćđšž", "áäčďéíĺľňóôŕšťúýž")
_TURKISH = ("çğıöşüâîûİ",)  # the lower case of İ is two characters
_BALTIC = ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž")
# letters beyond ASCII of languages with Latin letters, by encoding; of encodings that fit the same, the first is taken
_LATIN = (
    ("cp1252", _WESTERN),
    ("cp1250", _CENTRAL),
    ("cp1254", _TURKISH),
    ("cp1257", _BALTIC),
    ("iso8859_15", _WESTERN),
    ("iso8859_2", _CENTRAL),
    ("mac_roman", _WESTERN),
    ("cp850", _WESTERN),
    ("cp852", _CENTRAL),
    ("mac_latin2", _CENTRAL),
)
_SIGNS = frozenset("’‘‚“”„«»‹›…–—¿¡°€£ª•\xa0")
_IN_WORDS = frozenset("’‘ª°\xa0")  # the signs that may be between two letters
_OTHERS = [
    "cp1251", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1253", "cp1255", "cp1256", "cp874", "koi8_r", "cp866",
    "mac_cyrillic",
]  # fmt: skip
_TAGS = re.compile(rb"<[^<>]*>|\{[^{}]*\}")
_BETWEEN = re.compile(rb"[\s,;\"]+")  # words and cells; none of these is half of a letter in any encoding
_ESCAPES = re.compile(rb"\x1b\$[@B]")  # from ASCII to the letters of ISO-2022-JP
_NO_UTF8 = re.compile(r"[\udc80-\udcff]+")  # what `surrogateescape` makes of bytes that are not UTF-8
_SHORT = 60  # bytes, for the detector
_LONG = 16_000
_LATIN_SHARE = 0.7  # of the letters in words beyond ASCII; in other scripts nearly all are
UNREADABLE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Encoding:
    """How bytes are to be read.

    Attributes:
        name: as Python spells it; a byte-order mark is part of the text.
        is_assumed: whether nothing in the bytes says so.
    """

    name: str
    is_assumed: bool = False


def encoding_of(raw: bytes, name: str, error: type[M2FNetError]) -> Encoding:
    r"""The encoding of a text.

    Unicode with a byte-order mark and valid UTF-8 are certain. UTF-8 in which fewer bytes are invalid than there are
    letters beyond ASCII is UTF-8 too. UTF-16 without a mark is known by its zeros. Latin letters are decided by the
    letters of languages, everything else by `charset-normalizer`.

    Args:
        raw: the bytes.
        name: of the file, for the error.
        error: of a file that is not a text.

    Raises:
        error: if there is a zero byte.

    Example:
        >>> encoding_of("Привет, как дела? Я тебя не слышу.".encode("cp1251"), "talk.srt", M2FNetError)
        Encoding(name='cp1251', is_assumed=True)
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return Encoding(encoding)
    if (utf16 := _utf16_without_mark(raw)) is not None:
        return Encoding(utf16, is_assumed=True)
    nul = raw.find(b"\0")
    if nul >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise error(f"{name}:{line} holds a NUL byte, expected text. Save the file as UTF-8.")
    text = raw.decode("utf-8", errors="surrogateescape")
    if text.isascii() and _ESCAPES.search(raw) is not None:
        return Encoding("iso2022_jp", is_assumed=True)
    if _NO_UTF8.search(text) is None or _is_mostly_utf8(text):
        return Encoding("utf-8")
    return Encoding(_detected(raw), is_assumed=True)


def decoded(raw: bytes, name: str, error: type[M2FNetError]) -> tuple[str, str | None]:
    r"""The text in the bytes of a file, and a sentence about what was assumed; None where nothing had to be.

    Single bytes that are not UTF-8 in a text that is (see `encoding_of`) are read as cp1252.

    Raises:
        error: if the bytes are not a text.

    Example:
        >>> decoded("Schön!".encode("utf-16"), "talk.srt", M2FNetError)
        ('Schön!', None)
        >>> decoded("Привет, как дела? Я тебя не слышу.".encode("cp1251"), "talk.srt", M2FNetError)[1]
        'talk.srt is not UTF-8 and was read as cp1251. If letters are wrong, save it as UTF-8.'
    """
    encoding = encoding_of(raw, name, error)
    if encoding.name == "utf-8":
        text = raw.decode("utf-8", errors="surrogateescape").removeprefix(_MARK)
        invalid = len(_NO_UTF8.findall(text))
        if not invalid:
            return text, None
        text = _NO_UTF8.sub(lambda match: _as_cp1252(match[0]), text)
        places = f"{invalid} place{'s' if invalid > 1 else ''}"
        return text, f"{name} is UTF-8 except for {places}, read as cp1252."
    text = raw.decode(encoding.name, errors="replace").removeprefix(_MARK)
    notes = []
    if encoding.is_assumed and encoding.name.startswith("utf-16"):
        notes.append(f"{name} has no byte-order mark and was read as {encoding.name.upper()}.")
    elif encoding.is_assumed:
        notes.append(f"{name} is not UTF-8 and was read as {encoding.name}. If letters are wrong, save it as UTF-8.")
    if damaged := text.count(UNREADABLE):
        notes.append(f"{damaged} letters of {name} cannot be read, and became {UNREADABLE}.")
    return text, " ".join(notes) or None


def _utf16_without_mark(raw: bytes) -> str | None:
    """``utf-16-le`` or ``utf-16-be`` if zeros are in every other byte only, as those of digits and line ends are."""
    start = raw[:_LONG]
    even, odd = start[::2].count(0), start[1::2].count(0)
    share = 8 if any(byte > 127 for byte in start) else 3  # words of other scripts have fewer zeros, but no ASCII
    if share * max(even, odd) < len(start) // 2 or 2 * min(even, odd) >= max(even, odd):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _is_mostly_utf8(text: str) -> bool:
    """Whether the valid letters beyond ASCII cannot be there by chance, as some are in every text in another encoding.

    By chance they are pairs of bytes, which mean letters from U+0080 to U+07FF, rarely those of Latin or punctuation.
    """
    invalid = sum("\udc80" <= letter <= "\udcff" for letter in text)
    letters = [letter for letter in text if letter > "\x7f" and not "\udc80" <= letter <= "\udcff"]
    unlikely = sum(letter < "\u0250" or letter >= "\u2000" for letter in letters)
    return invalid <= unlikely or 10 * invalid <= len(letters)


def _detected(raw: bytes) -> str:
    """The most likely encoding by the words that have bytes beyond ASCII; digits, tags and English say nothing of it.

    Texts in Latin letters differ in too few of them for a detector that counts: the encoding is the one that makes
    them the letters of one language.
    """
    words = _BETWEEN.split(_TAGS.sub(b"", raw[: 8 * _LONG]))
    telling = b" ".join(word for word in words if not word.isascii())[:_LONG] or raw[:_LONG]
    beyond = sum(byte > 127 for byte in telling)
    if beyond < _LATIN_SHARE * sum(byte > 127 or chr(byte).isalpha() for byte in telling):
        strange, encoding = min(
            (
                (_strange(telling.decode(encoding, "replace"), letters), encoding)
                for encoding, languages in _LATIN
                for letters in languages
            ),
            key=itemgetter(0),
        )
        if strange <= 0.2 * beyond:
            return encoding
    best = from_bytes(telling * (3 if len(telling) < _SHORT else 1), cp_isolation=_OTHERS).best()
    return best.encoding if best is not None else "cp1252"


def _strange(text: str, letters: str) -> int:
    """How many characters beyond ASCII are no letters of the language where they are, nor signs between words."""
    strange = 0
    for before, sign, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if sign <= "\x7f":
            continue
        is_between = before.isalpha() and after.isalpha()
        is_sign = sign in _SIGNS and (sign in _IN_WORDS or not is_between)
        is_letter = (sign in letters or sign.lower() in letters) and not (sign.isupper() and before.islower())
        strange += not (is_sign or is_letter)
    return strange


def _as_cp1252(escaped: str) -> str:
    return escaped.encode("utf-8", errors="surrogateescape").decode("cp1252", errors="replace")
