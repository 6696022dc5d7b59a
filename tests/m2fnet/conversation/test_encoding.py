"""Subtitles in the encodings of the world, recognised by a few sentences, and what is noted about it."""

import pytest

from m2fnet.conversation.encoding import decoded
from m2fnet.conversation.segments import segments_in

TEXTS = {
    "cp1252": ["Je ne sais pas où tu étais hier. Ça m'a fait peur…", "¿Dónde estás? Mañana no podré venir.",
               "Schön, dich zu sehen!", "Não sei. Amanhã é outro dia, irmão.", "Perché? È così, però.",
               "Jag är så trött på lördag.", "I don’t know… It’s “fine” – really."],
    "cp1250": ["Gdzie byłaś? Źle się czułem. Dziękuję.", "Kde jsi byl včera? Bylo mi špatně, řekl jsem."],
    "cp1251": ["Привет, как дела?\nЯ тебя не слышу.", "- Где ты?\n- Здесь."],
    "koi8_r": ["Привет, как дела?\nЯ тебя не слышу."],
    "cp1253": ["Γεια σου, πού ήσουν χθες;\nΉμουν στο σπίτι."],
    "cp1254": ["Dün neredeydin? Çok üşüdüm, evde kaldım. Teşekkür ederim, değil mi ışık?"],
    "cp1255": ["שלום, איפה היית אתמול?\nהייתי בבית."],
    "cp1256": ["مرحبا، أين كنت أمس؟\nكنت في البيت."],
    "iso8859_2": ["Kde jsi byl včera? Bylo mi špatně, děkuji.", "Gdzie byłaś? Źle się czułem, mąż. Dziękuję."],
    "iso8859_15": ["Ça coûte 5 €, c'est très cher. Où étais-tu?"],
    "gb18030": ["你好,你去哪儿了?\n我一直在家。", "什么?\n我不知道。"],
    "big5": ["你好,你去哪裡了?\n我一直在家。", "什麼?\n我不知道。"],
    "cp932": ["こんにちは。どこへ行っていたの？\n家にいました。", "何？\n知らないよ。"],
    "euc_jp": ["こんにちは。どこへ行っていたの？\n家にいました。"],
    "cp949": ["안녕하세요. 어디 갔었어요?\n집에 있었어요."],
    "cp874": ["สวัสดีครับ เมื่อวานคุณไปไหนมา\nผมอยู่บ้าน"],
}  # fmt: skip


def as_srt(text):
    return "".join(
        f"{n}\n0:{n}:00,0 --> 0:{n}:01,0\n<i>{line}</i>\n\n" for n, line in enumerate(text.split("\n"), start=1)
    )


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_other_encodings_are_recognised_and_noted(tmp_path, encoding, text):
    path = tmp_path / "talk.srt"
    path.write_bytes(as_srt(text).encode(encoding))
    found = segments_in(path)
    assert " ".join(s.text for s in found.segments) == " ".join(line.removeprefix("- ") for line in text.split("\n"))
    (note,) = found.notes
    assert note.startswith(f"{path} is not UTF-8 and was read as ")
    assert as_srt(text).encode(encoding).decode(note.split(" read as ")[1].split(". ")[0]) == as_srt(text)


@pytest.mark.parametrize("text", ["Hi there", "你好,你去哪儿了?\n我一直在家。", "Привет, как дела?"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_needs_no_note(text, encoding):
    assert decoded(text.encode(encoding), "talk.srt") == (text, None)


@pytest.mark.parametrize("text", ["Hi there", "你好,你去哪儿了?\n我一直在家。", "Привет, как дела?"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark(text, encoding):
    note = f"talk.srt has no byte-order mark and was read as {encoding.upper()}."
    assert decoded(as_srt(text).encode(encoding), "talk.srt") == (as_srt(text), note)


def test_utf8_with_a_few_other_bytes():
    raw = "Привет, läter".encode() + b"\x85"
    assert decoded(raw, "talk.srt") == (
        "Привет, läter…",
        "talk.srt is UTF-8 except for 1 places, which were read as cp1252.",
    )
