"""What subtitles show although nobody said it: sounds, music and manners of speech."""

import re

# as in the guides of the BBC and of Netflix for viewers who hear badly, which also have most of the words below
_SQUARE = re.compile(r"\s*(?:\[[^\[\]]*\]|［[^［］]*］|【[^【】]*】)\s*")
_ROUND = re.compile(r"\s*(?:\(([^()]*)\)|（([^（）]*)）|\*([^*]{1,40})\*)\s*")
_NOTE = "♪♫♬♩🎵🎶"
_SUNG = re.compile(rf"\s*(?:[{_NOTE}][^{_NOTE}]*(?:[{_NOTE}]+|$)|^#\s.*(?:\s#)?$)\s*")
_SOUND = re.compile(
    r"\b(?:laugh|chuckl|giggl|snicker|snort|guffaw|cackl|sigh|gasp|groan|moan|grunt|scoff|sob|cry|cries|weep|cough|sneez|"
    r"sniff|snor[ei]|yawn|hiccup|gulp|belch|pant(?:s|ing)\b|breath|exhal|inhal|whimper|whin(?:es|ing)|wail|scream|shout|"
    r"yell|shriek|squeal|whisper|murmur|mutter|mumbl|stammer|stutter|hum(?:s|ming)\b|whistl|sing(?:s|ing)\b|chant|cheer|"
    r"applau|clap|boo(?:s|ing)\b|music|song|theme|melod|guitar|piano|drum|playing|silence|silent|pause|inaudible|"
    r"indistinct|unintelligible|chatter|crosstalk|overlapping|babbl|noise|static|sounds?\b|beep|bleep|buzz|ring(?:s|ing)?\b|"
    r"ringtone|chim|bells?\b|alarm|siren|horn|honk|engine|tires|screech|crash|bang|thud|thump|slam|knock|door|creak|click|"
    r"clatter|clink|clang|rustl|footstep|gunshot|gunfire|explo|thunder|bark|meow|growl|howl|chirp|"
    r"clear(?:s|ing) throat|speak(?:s|ing)\b|blank_audio|foreign\b|crowd|audience|intro\b|outro\b|"
    r"lach(?:t|en|end)?\b|lächel|seufz|wein(?:t|en|end)\b|musik|gelächter|schluchz|hust|schrei|flüster|stöhn|klingel|"
    r"rires?\b|rit\b|riant|soupir|pleur|touss|crie\b|chuchot|musique|risas?\b|ríen?\b|rien\b|suspir|llora|grita|susurr|"
    r"música|aplauso|смех|сме[её]тся|вздох|вздыха|музыка|плач|аплодис|кашл|кашел|крик|ш[её]пот)"
    r"|笑|拍手|音楽|音乐|音樂|ため息|泣|掌声|掌聲|叹气|歓声|の音|の声|웃음|박수|음악|한숨",
    re.IGNORECASE,
)
_MANNER = re.compile(
    r"(?:in [A-Z][a-z]+|on (?:the )?(?:phone|tv|radio)|over (?:phone|radio|pa)|v\.?o\.?|o\.?s\.?)", re.I
)
_SAYS_SO = re.compile(r"\b(?:i|i'm|you|we|me|us|my|your|our|this|that)\b|[.?!…]$", re.IGNORECASE)


_CREDIT = re.compile(
    r"(?:subtitl|caption|sync|translat|transcri|correct|encod|rip|resync|edit)\w*.{0,40}\bby\b.{1,80}|"
    r".{0,80}\b(?:opensubtitles|addic7ed|subscene|amara\.org|www\.\w+\.\w+).{0,80}",
    re.IGNORECASE,
)  # of those who made the subtitles


def is_sound(words: str) -> bool:
    """Whether words in brackets describe a sound or a manner of speech.

    They do if one of them names a sound and nothing in them is said by somebody: no "I" or "you", no end of a sentence.

    Example:
        >>> is_sound("door slams"), is_sound("in French"), is_sound("but not really"), is_sound("I laughed at him")
        (True, True, False, False)
    """
    words = words.strip()
    if _MANNER.fullmatch(words):
        return True
    return len(words.split()) <= 8 and bool(_SOUND.search(words)) and not _SAYS_SO.search(words)


def without_sounds(text: str, *, is_named: bool) -> tuple[str, list[str]]:
    """``text`` without what was not said, and that, in its order.

    Square brackets never hold spoken words. Round ones and asterisks do, unless `is_sound` of them, or unless they come
    first and are the only capitals: ``(LAUGHS) Yes``. Words between music notes are sung in the background, except by a
    speaker who is named: then they are words of the conversation.

    Example:
        >>> without_sounds("[sighs] I am fine (but not really). ♪", is_named=False)
        ('I am fine (but not really).', ['[sighs]', '♪'])
    """
    found: list[str] = []
    if not is_named and _CREDIT.fullmatch(text):
        return "", [text]

    def remove(match: re.Match[str]) -> str:
        found.append(match[0].strip())
        return " "

    def remove_round(match: re.Match[str]) -> str:
        words = next(group for group in match.groups() if group is not None)
        is_first = match.start() == 0 and match[3] is None and words.isupper() and not re.search(r"\d", words)
        is_capital = is_first and len(words) > 1 and not match.string[match.end() :].isupper()
        return remove(match) if is_capital or is_sound(words) else match[0]

    text = _SQUARE.sub(remove, text)
    text = _ROUND.sub(remove_round, text)
    if is_named and re.search(r"\w", re.sub(rf"[{_NOTE}#]", "", text)):
        text = re.sub(rf"\s*[{_NOTE}]+\s*", " ", text)
    else:
        text = _SUNG.sub(remove, text)
    return " ".join(text.split()), found
