"""The text of a file whose encoding nobody wrote down."""

import codecs
import re
from operator import itemgetter

from charset_normalizer import from_bytes

from m2fnet.errors import ConversationError

_MARKS = (  # the longer ones first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# letters beyond ASCII of languages with Latin letters, by encoding; of encodings that fit the same, the first is taken
_LATIN = (
    ("cp1252", "àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü", "ãõáàâçéêíóôú", "àèéìíòóùú", "åäöéæøü", "áðéíóúýþæö", "ëïéèüöó"),
    ("cp1250", "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áéíóöőúüű", "ăâîşţ", "čćđšž", "áäčďéíĺľňóôŕšťúýž"),
    ("cp1254", "çğıöşüâîû\u0307"),  # the lower case of İ is two characters
    ("cp1257", "ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
    ("iso8859_15", "àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü", "ãõáàâçéêíóôú", "àèéìíòóùú", "åäöéæøü"),
    ("iso8859_2", "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áéíóöőúüű", "ăâîşţ", "čćđšž", "áäčďéíĺľňóôŕšťúýž"),
)
_SIGNS = frozenset("’‘‚“”„«»‹›…–—¿¡°€£ª•\xa0")
_OTHERS = [
    "cp1251", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1253", "cp1255", "cp1256", "cp874", "koi8_r",
]  # fmt: skip
_TAGS = re.compile(rb"<[^<>]*>|\{[^{}]*\}")
_NO_UTF8 = re.compile(r"[\udc80-\udcff]+")  # what `surrogateescape` makes of bytes that are not UTF-8
_SHORT = 60  # bytes, for the detector
_LONG = 16_000


def decoded(raw: bytes, name: str) -> tuple[str, str | None]:
    r"""The text in the bytes of a file, and a sentence about what was assumed; None where nothing had to be.

    Unicode with a byte-order mark, UTF-16 without one and valid UTF-8 are certain. UTF-8 in which fewer bytes are
    invalid than there are letters beyond ASCII is read as UTF-8, and these bytes as cp1252. Everything else is decided
    by `charset-normalizer`.

    Raises:
        ConversationError: if the bytes are not a text.

    Example:
        >>> decoded("Schön!".encode("utf-16"), "talk.srt")
        ('Schön!', None)
        >>> decoded("Привет, как дела? Я тебя не слышу.".encode("cp1251"), "talk.srt")[1]
        'talk.srt is not UTF-8 and was read as cp1251. If letters are wrong, save it as UTF-8.'
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, errors="replace"), None
    if (utf16 := _utf16_without_mark(raw)) is not None:
        return raw.decode(utf16, errors="replace"), f"{name} has no byte-order mark and was read as {utf16.upper()}."
    nul = raw.find(b"\0")
    if nul >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise ConversationError(f"{name}:{line} holds a NUL byte, expected text. Save the file as UTF-8.")
    text = raw.decode("utf-8", errors="surrogateescape")
    invalid = _NO_UTF8.findall(text)
    if not invalid:
        return text, None
    if _is_mostly_utf8(text):
        text = _NO_UTF8.sub(lambda match: _as_cp1252(match[0]), text)
        return text, f"{name} is UTF-8 except for {len(invalid)} places, which were read as cp1252."
    encoding = _detected(raw)
    text = raw.decode(encoding, errors="replace")
    return text, f"{name} is not UTF-8 and was read as {encoding}. If letters are wrong, save it as UTF-8."


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
    """The most likely encoding by the lines that have bytes beyond ASCII; digits and tags say nothing about it.

    Texts in Latin letters differ in too few of them for a detector that counts: the encoding is the one that makes
    them the letters of one language.
    """
    lines = (_TAGS.sub(b"", line) for line in raw[: 8 * _LONG].splitlines())
    telling = b"\n".join(line for line in lines if not line.isascii())[:_LONG] or raw[:_LONG]
    beyond = sum(byte > 127 for byte in telling)
    if beyond < 0.4 * sum(byte > 127 or chr(byte).isalpha() for byte in telling):
        strange, encoding = min(
            (
                (_strange(telling.decode(encoding, "replace"), letters), encoding)
                for encoding, *languages in _LATIN
                for letters in languages
            ),
            key=itemgetter(0),
        )
        if strange <= 0.2 * beyond:
            return encoding
    best = from_bytes(telling * (3 if len(telling) < _SHORT else 1), cp_isolation=_OTHERS).best()
    return best.encoding if best is not None else "cp1252"


def _strange(text: str, letters: str) -> int:
    """How many characters beyond ASCII are neither among ``letters`` nor usual signs."""
    return sum(sign > "\x7f" and sign not in letters and sign not in _SIGNS for sign in text.lower())


def _as_cp1252(escaped: str) -> str:
    return escaped.encode("utf-8", errors="surrogateescape").decode("cp1252", errors="replace")
