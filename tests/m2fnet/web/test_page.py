"""The page in a real browser: a clip goes in, a timeline comes out, and nothing else happens."""

import json
import re
import tempfile
import time

import pytest
from fake_pipeline import load_sets
from served_page import IGNORE, LIMITS, WAIT, answered, free_port, refused, send, uploaded
from small_clips import write_sound, write_subtitles

from m2fnet.web.page import open_page

pytestmark = [pytest.mark.slow, IGNORE]

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script> ${alert(3)} {{alert(4)}}"


def tops(page):
    """Numbers of the utterances in the timeline with the colour of their emotion, in order."""
    return page.eval_on_selector_all(
        "#track .top", "all => all.map(bar => [bar.dataset.utterance, getComputedStyle(bar).fill])"
    )


def test_the_example_becomes_a_player_a_timeline_and_a_transcript(open_here, address, tmp_path):
    visited = open_here()
    page = visited.page
    page.click("#example")
    answered(page)
    rows = page.locator(".utterance")
    assert 8 <= rows.count() <= 10
    assert [utterance for utterance, _ in tops(page)] == [str(i) for i in range(rows.count())]
    assert page.locator("#lanes .feeling").all_inner_texts() == ["neutral", "joy", "anger"]
    assert [row.split()[:1] for row in page.locator(".emotion").all_inner_texts()[:4]] == [
        ["neutral"],
        ["joy"],
        ["anger"],
        ["neutral"],
    ]
    assert rows.nth(1).locator(".missing").get_attribute("title") == "not used: no face"
    assert page.evaluate("document.querySelector('#player').readyState > 0 || new Promise(done => "
                         "document.querySelector('#player').onloadedmetadata = () => done(true))")  # fmt: skip
    assert page.evaluate("document.querySelector('#player').videoWidth") == 192
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert visited.outside(address) == []
    assert visited.complaints == []
    assert uploaded() == []


def test_a_model_of_sets_shows_every_emotion_with_its_threshold(visit, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_page(load_sets, "fake", LIMITS, port=free_port()) as opened:
        visited = visit(opened)
        page = visited.page
        page.locator("#example:enabled").wait_for()
        page.click("#example")
        answered(page)
        shown = page.locator(".emotion").all_inner_texts()
        assert shown[:3] == ["none", "joy 60 %", "joy 60 %, anger 60 %"]
        page.locator(".utterance").nth(2).click()
        assert page.locator("#odds dd:not(.gauge)").all_inner_texts() == [
            "20 % of 90 %",
            "60 % of 50 %",
            "60 % of 25 %",
        ]
        assert page.locator("#odds dt.top").all_inner_texts() == ["joy", "anger"]
        assert page.locator("#rated").inner_text() == "valence -1.50"
        page.locator(".utterance").nth(0).click()
        assert page.locator("#rated").inner_text() == "valence +0.50"
        assert {"1", "2"} <= {utterance for utterance, _ in tops(page)}
        assert visited.complaints == []


def boxes(page):
    """Left, top, right, bottom of each face that is framed, as shares of the player's picture."""
    return page.eval_on_selector_all(
        "#faces rect",
        """all => all.map(rect => {
            const [video, box] = [document.querySelector("#player"), rect.getBoundingClientRect()];
            const [player, { videoWidth, videoHeight }] = [video.getBoundingClientRect(), video];
            const scale = Math.min(player.width / videoWidth, player.height / videoHeight);
            const x = (at) => 0.5 + (at - (player.left + player.right) / 2) / (videoWidth * scale);
            const y = (at) => 0.5 + (at - (player.top + player.bottom) / 2) / (videoHeight * scale);
            return [x(box.left), y(box.top), x(box.right), y(box.bottom)];
        })""",
    )


@pytest.mark.parametrize("is_announced", [True, False])
def test_faces_are_framed_where_they_were_found(open_here, tmp_path, is_announced):
    visited = open_here()
    page = visited.page
    if not is_announced:  # the size of the picture may be announced after somebody's first click
        page.evaluate("document.querySelector('#player').onloadedmetadata = null")
    page.click("#example")
    answered(page)
    utterances = page.locator(".utterance").count()
    assert f"faces found in {(utterances + 1) // 2} of {utterances} utterances" in page.locator("#streams").inner_text()
    page.wait_for_function("document.querySelector('#player').videoWidth")
    page.locator(".utterance").nth(2).click()
    assert page.locator("#looked").inner_text() == "Looked for faces in 1 frame: found in 1."
    assert page.locator("#rated").is_hidden()
    first, second = boxes(page)
    assert first == pytest.approx([0.25, 0.5, 0.5, 0.75], abs=0.02)
    assert second == pytest.approx([0.75, 0, 1, 0.25], abs=0.02)
    page.locator(".utterance").nth(1).click()
    assert boxes(page) == []
    assert page.locator("#looked").inner_text() == "Looked for faces in 1 frame: none was found."
    assert visited.complaints == []


def test_the_longest_utterance_is_drawn_as_sound_and_a_click_goes_there(open_here, address, tmp_path):
    visited = open_here()
    page = visited.page
    (tmp_path / "talk.csv").write_text(
        f"start,end,speaker,text\n0,0.5,Ann,One.\n0.5,3,Bob,{EVIL}\n3,3.5,Ann,Three.\n", encoding="utf-8"
    )
    send(page, write_sound(tmp_path / "talk.wav"), tmp_path / "talk.csv")
    answered(page)
    assert page.locator("#heard").inner_text() == f"Sound of the longest utterance, from 0:00 (Bob: {EVIL}):"
    assert page.evaluate("document.querySelector('#spectrogram').naturalWidth") > 500
    page.click("#spectrogram")
    assert "here" in page.locator(".utterance").nth(1).get_attribute("class")
    page.click("#again")
    send(page, write_subtitles(tmp_path / "a.srt", ["Ann: One.", "Bob: Two."]))
    answered(page)
    assert page.locator("#sound").is_hidden()
    assert visited.outside(address) == []
    assert visited.complaints == []


def test_without_a_picture_no_face_is_looked_for(open_here, tmp_path):
    page = open_here().page
    send(page, write_subtitles(tmp_path / "a.srt", ["Ann: One.", "Bob: Two."]))
    answered(page)
    assert "no faces: they were not looked for" in page.locator("#streams").inner_text()
    assert page.locator("#looked").inner_text() == "No face was looked for in this utterance."
    assert boxes(page) == []


def test_a_click_on_a_utterance_seeks_and_the_cursor_moves_with_the_player(open_here):
    page = open_here().page
    page.click("#example")
    answered(page)
    begins = page.locator(".utterance .time").nth(3).inner_text()
    page.locator(".utterance").nth(3).click()
    assert "here" in page.locator(".utterance").nth(3).get_attribute("class")
    minutes, seconds = begins.split(":")
    now = page.evaluate("document.querySelector('#player').currentTime")
    assert int(now) == 60 * int(minutes) + int(seconds)
    assert page.locator("#odds .top").inner_text() == "neutral"

    page.locator('#track .top[data-utterance="5"]').click()
    assert "here" in page.locator(".utterance").nth(5).get_attribute("class")
    before = page.evaluate("document.querySelector('#cursor').style.left")
    page.evaluate("(player => { player.muted = true; return player.play(); })(document.querySelector('#player'))")
    page.wait_for_function(
        "before => parseFloat(document.querySelector('#cursor').style.left) > parseFloat(before) + 2", arg=before
    )


def test_the_answer_can_be_kept_as_json_csv_srt_and_picture(open_here, tmp_path):
    page = open_here().page
    clip = write_sound(tmp_path / "my talk.wav")
    send(page, clip, write_subtitles(tmp_path / "my talk.srt", ["Ann: Hello.", "Bob: Well."]))
    answered(page)
    with page.expect_download() as download:
        page.click("#json")
    assert download.value.suggested_filename == "my talk.emotions.json"
    kept = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert [(utterance["speaker"], utterance["text"], utterance["emotion"]) for utterance in kept["utterances"]] == [
        ("Ann", "Hello.", "neutral"),
        ("Bob", "Well.", "joy"),
    ]
    assert kept["utterances"][1]["probabilities"] == {"neutral": 0.1, "joy": 0.8, "anger": 0.1}
    with page.expect_download() as download:
        page.click("#srt")
    with page.expect_download() as table:
        page.click("#csv")
    assert table.value.suggested_filename == "my talk.emotions.csv"
    lines = table.value.path().read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("start_s,end_s,speaker,text,emotion,confidence,p_neutral")
    assert lines[2].startswith("0.250,0.500,Bob,Well.,joy,0.8000")
    with page.expect_download() as picture:
        page.click("#png")
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")
    assert re.search(r"00:00:00,250 --> 00:00:00,500\n.*joy.*Well\.", download.value.path().read_text(encoding="utf-8"))


def test_another_clip_starts_afresh(open_here, tmp_path):
    page = open_here().page
    send(page, write_subtitles(tmp_path / "a.srt", ["Ann: One.", "Bob: Two."]))
    answered(page)
    assert page.locator("#player").is_hidden()
    page.click("#again")
    assert page.locator("#go").is_disabled()
    send(page, write_subtitles(tmp_path / "b.srt", ["Cleo: Three."]))
    answered(page)
    assert page.locator(".utterance").count() == 1
    assert "Three." in page.locator(".words").inner_text()


def test_a_transcript_without_times_is_drawn_utterance_by_utterance(open_here, tmp_path):
    page = open_here().page
    (tmp_path / "talk.csv").write_text("speaker,text\nAnn,One.\nBob,Two.\n", encoding="utf-8")
    send(page, tmp_path / "talk.csv")
    answered(page)
    assert page.locator(".time").all_inner_texts() == ["1", "2"]
    assert page.locator("#axis span").first.inner_text() == "utterance 1"
    assert page.locator("#srt").is_hidden()
    page.locator(".utterance").nth(1).click()
    assert "Two." in page.locator("#said").inner_text()


def test_a_file_dropped_on_the_page_is_chosen(open_here):
    page = open_here().page
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["x"], "talk.mp4"));
            data.items.add(new File(["x"], "talk.srt"));
            document.querySelector("#drop").dispatchEvent(
                new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    assert page.locator("#chosen li").all_inner_texts() == ["talk.mp4", "talk.srt"]
    assert page.locator("#go").is_enabled()


def test_cues_that_are_no_utterances_are_counted_named_and_kept(open_here, tmp_path):
    page = open_here().page
    send(page, write_subtitles(tmp_path / "talk.srt", ["Ann: Hello.", "<i></i>", "", "", "{\\an8}"]))
    answered(page)
    assert page.locator(".utterance").count() == 1
    first = "; ".join(f"the transcript:{line} says nothing" for line in (6, 10, 14))
    skipped = f"Skipped 4 cues, lines or sounds that are not utterances: {first}; …"
    assert page.locator("#skipped").inner_text() == skipped
    with page.expect_download() as download:
        page.click("#json")
    kept = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert kept["skipped"][-1] == "the transcript:18 says nothing"
    page.click("#again")
    send(page, write_subtitles(tmp_path / "whole.srt", ["Ann: Hello."]))
    answered(page)
    assert page.locator("#skipped").is_hidden()


def test_markup_from_strangers_stays_text(open_here, address, tmp_path):
    visited = open_here()
    page = visited.page
    clip = write_sound(tmp_path / '<img src=x onerror=alert(0)> "&.wav')
    send(page, clip, write_subtitles(tmp_path / "evil.csv", [EVIL, EVIL.replace("<", "</b><")]))
    answered(page)
    assert EVIL in page.locator(".words").first.inner_text()
    assert EVIL in page.locator("#said").inner_text()
    assert page.locator("main img:not(#spectrogram, #photo), main script, main b").count() == 0
    assert page.evaluate("document.scripts.length") == 1
    with page.expect_download() as download:
        page.click("#json")
    assert "/" not in download.value.suggested_filename
    assert visited.outside(address) == []
    assert visited.complaints == []


def test_a_hostile_file_name_stays_text_where_it_is_chosen(open_here, tmp_path):
    visited = open_here()
    clip = write_sound(tmp_path / "<img src=x onerror=alert(0)>.wav")
    visited.page.set_input_files("#clip", clip)
    assert visited.page.locator("#chosen").inner_text() == clip.name
    assert visited.page.locator("main img:not(#spectrogram, #photo)").count() == 0
    assert visited.complaints == []


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("list.mp4", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/x.ts\n", "the clip cannot be used as a clip"),
        ("archive.mp4", b"PK\x03\x04", "the clip cannot be used as a clip"),
        ("large.mp4", bytes(2_100_000), "3 MB, this page takes up to 2"),
    ],
)
def test_a_bad_file_is_refused_by_a_sentence_and_the_page_goes_on(open_here, tmp_path, name, content, sentence):
    page = open_here().page
    (tmp_path / name).write_bytes(content)
    send(page, tmp_path / name)
    assert sentence in refused(page)
    assert str(tmp_path) not in refused(page)
    assert uploaded() == []
    page.click("#example")
    answered(page)
    assert page.locator("#problem").is_hidden()


def test_a_clip_that_is_too_long_or_takes_too_long_is_refused_by_a_sentence(open_here, tmp_path):
    page = open_here().page
    send(page, write_sound(tmp_path / "long.wav", seconds=61.0, rate=4000))
    assert "lasts 1:01 minutes, this page takes up to 1:00" in refused(page)
    send(page, write_sound(tmp_path / "short.wav"), write_subtitles(tmp_path / "hang.srt", ["!hang"]))
    page.locator("#work").wait_for()
    page.locator("#work").wait_for(state="hidden", timeout=WAIT)
    assert "did not finish in 15 seconds" in refused(page)
    assert uploaded() == []


def test_two_at_once_are_answered_one_after_another_each_with_their_own(open_here, tmp_path):
    first, second = open_here().page, open_here().page
    send(first, write_subtitles(tmp_path / "a.srt", ["Ann: !slow first"] * 4))
    first.locator("#work").wait_for()
    send(second, write_subtitles(tmp_path / "b.srt", ["Bob: second"] * 3))
    second.get_by_text("Yours is next").wait_for(timeout=WAIT)
    answered(second)
    answered(first)
    assert first.locator(".utterance").count() == 4
    assert second.locator(".utterance").count() == 3
    assert all("first" in words for words in first.locator(".words").all_inner_texts())
    assert all("second" in words for words in second.locator(".words").all_inner_texts())


def test_somebody_who_leaves_holds_up_nobody(open_here, tmp_path):
    first, second = open_here().page, open_here().page
    send(first, write_subtitles(tmp_path / "a.srt", ["Ann: !slow"] * 3))
    first.get_by_text("Utterance 1 of 3").wait_for(timeout=WAIT)
    first.close()
    send(second, write_subtitles(tmp_path / "b.srt", ["Bob: second"]))
    answered(second)
    assert "second" in second.locator(".words").inner_text()
    deadline = time.monotonic() + 10
    while uploaded() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert uploaded() == []


def test_ten_thousand_utterances_do_not_freeze_the_page(open_here, tmp_path):
    page = open_here().page
    send(page, write_subtitles(tmp_path / "many.srt", [f"Ann: utterance {i}" for i in range(10_000)]))
    answered(page)
    assert page.locator(".utterance").count() == 500
    assert "timeline and the files have all 10,000 utterances" in page.locator("#rest").inner_text()
    assert page.locator("#track .top").count() == 10_000
    begun = time.monotonic()
    page.locator(".utterance").nth(400).click()
    assert "here" in page.locator(".utterance").nth(400).get_attribute("class")
    assert time.monotonic() - begun < 5
    with page.expect_download() as download:
        page.click("#json")
    assert len(json.loads(download.value.path().read_text(encoding="utf-8"))["utterances"]) == 10_000


def test_the_page_works_in_the_dark_and_on_a_phone(open_here, tmp_path):
    page = open_here(color_scheme="dark").page
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#example")
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
