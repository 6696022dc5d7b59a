"""What people do with the page other than sending a file: keys, colours, cancelling, recording, examples."""

import json
import re
import tempfile

import pytest
from fake_pipeline import HEARD, load, load_annotator
from PIL import Image
from served_page import IGNORE, LIMITS, WAIT, answered, free_port, refused, send, uploaded
from small_clips import write_sound, write_subtitles

from m2fnet.plots.style import DARK
from m2fnet.web.page import open_page

pytestmark = [pytest.mark.slow, IGNORE]

DEVICES = """
    const sound = () => {
        const context = new AudioContext();
        const [tone, out] = [context.createOscillator(), context.createMediaStreamDestination()];
        tone.connect(out);
        tone.start();
        return out.stream.getTracks();
    };
    const picture = () => {
        const canvas = document.createElement("canvas");
        const draw = () => canvas.getContext("2d").fillRect(0, 0, 9, 9);
        setInterval(draw, 40);
        return canvas.captureStream(25).getTracks();
    };
    navigator.mediaDevices.getUserMedia = async ({ video }) => {
        window.made = new MediaStream([...sound(), ...(video ? picture() : [])]);
        return window.made;
    };
"""


def focused(page):
    """The id of the element that has the keyboard."""
    return page.evaluate("document.activeElement.id")


def test_everything_can_be_done_by_keys(open_here):
    visited = open_here()
    page = visited.page
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(focused(page))
    assert {"scheme", "clip", "subtitles", "record-sound", "record-video", "example"} <= reached
    page.focus("#example")
    page.keyboard.press("Enter")
    answered(page)
    page.wait_for_function("() => document.activeElement.id === 'summary'")  # a screen reader says how many utterances
    track = page.locator("#track")
    track.focus()
    last = page.locator(".utterance").count()
    for key, number in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", last), ("Home", 1)):
        page.keyboard.press(key)
        assert track.get_attribute("aria-valuenow") == str(number)
        assert page.locator(".utterance[aria-current=true]").count() == 1
        assert "here" in page.locator(".utterance").nth(number - 1).get_attribute("class")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"0:\d\d, joy 80 %\. \w+: .+", track.get_attribute("aria-valuetext"))
    page.keyboard.press("Shift+Tab")
    page.locator(".utterance .time").nth(3).focus()
    page.keyboard.press("Enter")
    assert track.get_attribute("aria-valuenow") == "4"
    page.focus("#again")
    page.keyboard.press("Enter")
    assert focused(page) == "clip"
    assert visited.complaints == []


def test_what_is_seen_is_said_too(open_here):
    page = open_here().page
    page.click("#example")
    answered(page)
    second = page.locator(".utterance").nth(1)
    assert second.locator(".missing").text_content() == "visual not used: no face"
    assert second.get_by_role("img").get_attribute("aria-label") == "neutral 10 %, joy 80 %, anger 10 %"
    assert page.locator("#hear").get_by_role("img").get_attribute("alt").startswith("Go to this utterance")
    page.wait_for_function("() => document.querySelector('#player').textTracks.length === 1")
    page.evaluate("document.querySelector('#player').textTracks[0].mode = 'showing'")
    page.wait_for_function("() => document.querySelector('#player').textTracks[0].cues?.length > 0")
    cues = page.evaluate("[...document.querySelector('#player').textTracks[0].cues].map(cue => cue.text)")
    assert len(cues) == page.locator(".utterance").count()
    assert cues[1].endswith("(joy 80 %)")


def test_words_of_strangers_are_no_markup_in_the_captions(open_here, tmp_path):
    visited = open_here()
    page = visited.page
    (tmp_path / "a.csv").write_text('start,end,speaker,text\n0,1,Ann,"<b>1 & 2</b> --> 3"\n', encoding="utf-8")
    send(page, write_sound(tmp_path / "a.wav"), tmp_path / "a.csv")
    answered(page)
    page.evaluate("document.querySelector('#player').textTracks[0].mode = 'showing'")
    page.wait_for_function("() => document.querySelector('#player').textTracks[0].cues?.length > 0")
    shown = page.evaluate("document.querySelector('#player').textTracks[0].cues[0].getCueAsHTML().textContent")
    assert shown == "Ann: <b>1 & 2</b> --> 3 (neutral 80 %)"
    assert visited.complaints == []


def ground(page, element):
    """The colour behind an element, as #RRGGBB."""
    red, green, blue = map(
        int, re.findall(r"\d+", page.locator(element).evaluate("e => getComputedStyle(e).backgroundColor"))
    )
    return f"#{red:02x}{green:02x}{blue:02x}"


def test_the_colours_are_chosen_and_remembered_and_pictures_follow(open_here):
    page = open_here(color_scheme="light").page
    page.click("#example")
    answered(page)
    assert ground(page, "#timeline") == "#ffffff"
    by_day = page.locator("#spectrogram").get_attribute("src")
    page.select_option("#scheme", "dark")
    assert ground(page, "#timeline") == DARK  # that of the picture, too
    assert page.locator("#spectrogram").get_attribute("src") != by_day
    page.reload()
    page.locator("#example:enabled").wait_for()
    assert page.locator("#scheme").input_value() == "dark"
    assert ground(page, "#drop") == DARK
    page.select_option("#scheme", "system")
    assert ground(page, "#drop") == "#ffffff"
    page.emulate_media(color_scheme="dark")
    assert ground(page, "#drop") == DARK


def test_emotions_are_lighter_in_the_dark_only_where_that_is_needed(open_here):
    page = open_here(color_scheme="dark").page
    model = page.evaluate("fetch('model').then(answer => answer.json())")
    page.click("#example")
    answered(page)
    shown = page.locator("#odds .gauge i").evaluate_all("all => all.map(e => getComputedStyle(e).backgroundColor)")
    expected = [tuple(int(c[at : at + 2], 16) for at in (1, 3, 5)) for c in model["dark_colours"]]
    assert [tuple(map(int, re.findall(r"\d+", colour))) for colour in shown] == expected


def test_the_timeline_has_a_row_for_each_speaker_and_the_sound(open_here, tmp_path):
    page = open_here().page
    (tmp_path / "a.csv").write_text(
        "start,end,speaker,text\n0,0.5,Ann,One.\n0.5,1,Bob,Two.\n1,2,Ann,Three.\n", encoding="utf-8"
    )
    send(page, write_sound(tmp_path / "a.wav"), tmp_path / "a.csv")
    answered(page)
    assert page.locator("#lanes .person").all_inner_texts() == ["Ann", "Bob"]
    bars = page.locator("#track .people rect:not(.stripe)")
    rows = bars.evaluate_all("all => all.map(bar => bar.getBoundingClientRect().top)")
    assert rows[0] == rows[2] < rows[1]
    page.locator("#wave polygon").wait_for()
    bars.nth(1).click()
    assert "Two." in page.locator("#said").inner_text()
    page.click("#again")
    many = ["start,end,speaker,text", *(f"{i},{i + 1 + i / 10},{chr(65 + i)},Hello." for i in range(10))]
    (tmp_path / "many.csv").write_text("\n".join(many), encoding="utf-8")
    send(page, tmp_path / "many.csv")
    answered(page)
    assert page.locator("#lanes .person").all_inner_texts() == ["3 others", *"DEFGHIJ"]
    assert page.locator("#wave").is_hidden()


def test_without_names_and_without_a_sound_that_can_be_decoded_there_are_only_emotions(open_here, tmp_path):
    visited = open_here()
    visited.page.add_init_script("OfflineAudioContext.prototype.decodeAudioData = () => Promise.reject(Error())")
    page = visited.page
    page.reload()
    (tmp_path / "a.csv").write_text("start,end,text\n0,1,One.\n", encoding="utf-8")
    send(page, write_sound(tmp_path / "a.wav"), tmp_path / "a.csv")
    answered(page)
    assert page.locator("#lanes span").all_inner_texts() == ["neutral", "joy", "anger"]
    assert page.locator("#wave").is_hidden()
    assert visited.complaints == []


def test_a_prediction_can_be_cancelled_and_nothing_of_the_clip_is_left(open_here, tmp_path):
    visited = open_here()
    page = visited.page
    send(page, write_sound(tmp_path / "a.wav"), write_subtitles(tmp_path / "a.srt", ["!slow", "!hang"]))
    page.get_by_text("Utterance 1 of 2").wait_for(timeout=WAIT)
    assert focused(page) == "cancel"
    assert len(uploaded()) == 2
    page.click("#cancel")
    page.get_by_text("Cancelled. Nothing of the clip is left on the server.").wait_for(timeout=WAIT)
    assert uploaded() == []
    assert page.locator("#problem").is_hidden()
    assert page.locator("#chosen li").all_inner_texts() == ["a.wav", "a.srt"]
    send(page, write_subtitles(tmp_path / "b.srt", ["Ann: Again."]))
    page.get_by_text("Loading the model again").wait_for(timeout=WAIT)
    page.locator("#answer").wait_for(timeout=4 * WAIT)
    assert page.locator("#notice").is_hidden()
    assert "Again." in page.locator(".words").inner_text()
    assert visited.complaints == []


def test_cancelling_in_the_queue_does_not_touch_the_clip_before(open_here, tmp_path):
    first, second = open_here().page, open_here().page
    send(first, write_subtitles(tmp_path / "a.srt", ["Ann: !slow first"] * 5))
    first.get_by_text("Utterance 1 of 5").wait_for(timeout=WAIT)
    send(second, write_subtitles(tmp_path / "b.srt", ["Bob: second"]))
    second.get_by_text("Yours is next").wait_for(timeout=WAIT)
    second.click("#cancel")
    second.get_by_text("Nothing of the clip is left").wait_for(timeout=WAIT)
    assert len(uploaded()) <= 1
    answered(first)
    assert first.locator(".utterance").count() == 5


@pytest.mark.parametrize(("button", "kind"), [("#record-sound", "audio"), ("#record-video", "video")])
def test_a_recording_is_sent_like_a_file(open_here, button, kind):
    visited = open_here()
    page = visited.page
    page.add_init_script(DEVICES)
    page.reload()
    page.click(button)
    page.locator("#recording").wait_for()
    assert page.locator("#preview").is_visible() == (kind == "video")
    assert focused(page) == "stop"
    page.get_by_text("Recording, 0:02").wait_for(timeout=WAIT)
    page.click("#stop")
    page.locator("#chosen li").wait_for()
    assert page.locator("#chosen li").inner_text() == "recording.webm"
    assert page.locator("#recording").is_hidden()
    assert page.evaluate("window.made.getTracks().every(track => track.readyState === 'ended')")
    page.click("#go")
    answered(page)
    assert page.locator(".utterance").count() >= 1
    assert (page.locator("#spectrogram").is_visible(), uploaded()) == (True, [])
    assert visited.complaints == []


def test_before_the_page_knows_its_model_no_button_can_be_pressed(open_here):
    page = open_here().page
    waiting = []
    page.route("**/model", lambda route: waiting.append(route))
    page.reload()
    page.locator("#record-video").wait_for()
    assert page.locator("button:visible:enabled").count() == 0
    waiting[0].continue_()
    page.locator("#example:enabled").wait_for()
    assert page.locator("button:visible:disabled").all_inner_texts() == ["Read the emotions"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("NotAllowedError", "The browser may not use the microphone. Allow it"),
        ("NotFoundError", "The browser finds no microphone."),
        ("NotReadableError", "Another program uses the microphone."),
    ],
)
def test_why_nothing_is_recorded_is_a_sentence(open_here, error, sentence):
    page = open_here().page
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', name)); }", error
    )
    page.click("#record-sound")
    assert refused(page).startswith(sentence)
    assert page.locator("#example").is_enabled()


def test_the_example_comes_with_and_without_its_parts(open_here):
    page = open_here().page
    found = {}
    for name in ("clip with subtitles", "clip only", "subtitles only"):
        page.get_by_role("button", name=name, exact=True).click()
        answered(page)
        with page.expect_download() as download:
            page.click("#json")
        found[name] = json.loads(download.value.path().read_text(encoding="utf-8"))["source"]
        page.click("#again")
    assert found == {
        "clip with subtitles": "the subtitles",
        "clip only": "voice activity",
        "subtitles only": "the transcript",
    }


def test_a_photograph_is_shown_with_its_faces(open_here, tmp_path):
    visited = open_here()
    page = visited.page
    page.click("#example")
    answered(page)
    page.locator(".utterance").nth(3).click()
    page.click("#again")
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.PNG")
    send(page, tmp_path / "photo.PNG")
    answered(page)
    assert page.locator("#summary").inner_text() == "1 utterance, from a photograph"
    page.wait_for_function("() => document.querySelector('#photo').naturalWidth === 64")
    assert page.locator("#faces rect").count() == 2
    assert page.locator("#faces.later").count() == 0
    assert page.locator("#axis span").all_inner_texts() == ["utterance 1"]
    assert page.locator("#cursor").evaluate("cursor => cursor.style.left") == "0%"
    assert page.locator("#player").is_hidden()
    assert page.locator("#srt").is_hidden()
    page.click("#again")
    page.locator("#example").click()
    answered(page)
    assert page.locator("#photo").is_hidden()
    assert visited.complaints == []


def test_what_a_machine_wrote_or_guessed_is_marked(visit, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_page(load, "fake", LIMITS, port=free_port(), load_annotator=load_annotator) as opened:
        visited = visit(opened)
        page = visited.page
        page.locator("#example:enabled").wait_for()
        assert page.locator("#unheard").inner_text() == "Without subtitles, the recogniser saying writes the words."
        page.get_by_role("button", name="clip only", exact=True).click()
        answered(page)
        row = page.locator(".utterance").first
        assert row.locator(".speaker").inner_text() == "speaker 1"
        assert HEARD in row.locator(".words").inner_text()
        marks = [mark.get_attribute("title") for mark in row.locator(".mark").all()]
        assert marks[0].startswith("Nobody named the speaker: guessed by ")
        assert marks[1] == "Written by the recogniser saying, not by a person."
        assert "The words are by the recogniser saying" in page.locator("#skipped").inner_text()
        page.click("#again")
        page.click("#example")
        answered(page)
        assert page.locator(".mark").count() == 0
        assert visited.complaints == []
