"""Subtitles and tables in the encodings of the world, recognised by a few sentences, and what is noted about it."""

import json

import pytest

from m2fnet.conversation.segments import segments_in
from m2fnet.corpora.encoding import decoded
from m2fnet.corpora.table import read_table
from m2fnet.errors import ConversationError, CorpusError

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
    "mac_roman": ["Schön, daß du da bist. Es wäre großartig, für mich.", "Où étais-tu hier? Ça m'a coûté cher."],
    "cp850": ["Schön, daß du da bist. Es wäre großartig, für mich.", "Où étais-tu hier? Ça m'a coûté cher."],
    "cp852": ["Kde jsi byl včera? Bylo mi špatně, řekl jsem."],
    "cp866": ["Привет, как дела?\nЯ тебя не слышу."],
    "mac_cyrillic": ["Привет, как дела?\nЯ тебя не слышу.\nНу и что теперь делать? Не знаю."],
    "cp1257": ["Kur buvai vakar? Aš tavęs ieškojau, žinai. Ačiū, jau rūpinuosi."],
    "iso2022_jp": ["こんにちは。どこへ行っていたの？\n家にいました。"],
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
    assert decoded(text.encode(encoding), "talk.srt", ConversationError) == (text, None)


@pytest.mark.parametrize("text", ["Hi there", "你好,你去哪儿了?\n我一直在家。", "Привет, как дела?"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark(text, encoding):
    note = f"talk.srt has no byte-order mark and was read as {encoding.upper()}."
    assert decoded(as_srt(text).encode(encoding), "talk.srt", ConversationError) == (as_srt(text), note)


def test_utf8_with_a_few_other_bytes():
    raw = "Привет, läter".encode() + b"\x85"
    assert decoded(raw, "talk.srt", ConversationError) == (
        "Привет, läter…",
        "talk.srt is UTF-8 except for 1 place, read as cp1252.",
    )


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_in_other_encodings_are_read_and_listed(tmp_path, encoding, text, separator):
    cells = [("dialogue", "split", "speaker", "text", "label", "audio")]
    lines = text.split("\n")
    cells += [("a", "train", "Ann", f'"{line}"', f"joy{n}", "clips/none.wav") for n, line in enumerate(lines)]
    cells += [("a", "train", "Ann", "Hi", label, "") for label in ("joy0", "sad")]
    path = tmp_path / "own.csv"
    path.write_bytes("".join(separator.join(row) + "\r\n" for row in cells).encode(encoding))
    manifest = read_table(path)
    assert [u.text for u in manifest.utterances] == [*lines, "Hi", "Hi"]
    (defect,) = [defect for defect in manifest.defects if "bytes" in defect.what]
    assert defect.done == f"decoded as {defect.what.removesuffix(' bytes in the text')}"
    assert defect.ids == tuple(u.id for u in manifest.utterances[:-2])


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_tables_of_segments_in_other_encodings(tmp_path, encoding, text):
    rows = "".join(f'{n},{n + 1},Ann,"{line}"\n' for n, line in enumerate(text.split("\n")))
    path = tmp_path / "talk.csv"
    path.write_bytes(f"start,end,speaker,text\n{rows}".encode(encoding))
    found = segments_in(path)
    assert [s.text for s in found.segments] == text.split("\n")
    assert found.notes[0].startswith(f"{path} is not UTF-8 and was read as ")


@pytest.mark.parametrize("encoding", ["cp1251", "cp932", "mac_roman"])
def test_jsonl_in_other_encodings(tmp_path, encoding):
    (text, *_) = TEXTS[encoding]
    line = json.dumps({"dialogue": "a", "split": "train", "text": text, "label": "joy"}, ensure_ascii=False)
    (tmp_path / "own.jsonl").write_bytes(f"{line}\n{line.replace('joy', 'sad')}\n".encode(encoding))
    manifest = read_table(tmp_path)
    assert {u.text for u in manifest.utterances} == {text}
    assert f"{encoding} bytes in the text" in {defect.what for defect in manifest.defects}


def test_a_damaged_table_is_refused_and_damaged_subtitles_are_noted(tmp_path):
    raw = "dialogue,split,text,label\na,train,Hi,joy\n".encode("utf-16")[:-1]
    (tmp_path / "own.csv").write_bytes(raw)
    with pytest.raises(CorpusError, match=r"looks like utf-16-le, but is cut off or damaged\. Save it as UTF-8"):
        read_table(tmp_path)
    text, note = decoded(raw, "talk.srt", ConversationError)
    assert text.endswith("joy\N{REPLACEMENT CHARACTER}")
    assert note == "1 letters of talk.srt cannot be read, and became \N{REPLACEMENT CHARACTER}."
