from m2fnet.corpora.base import DefectLog
from m2fnet.corpora.leaks import report_repeats
from m2fnet.records import LEAK, Utterance


def said(name: str, split: str, **fields) -> Utterance:
    return Utterance(name, "own", split, f"{split}-{name}", 0, **fields)


def report(*utterances: Utterance, scene: str = "film") -> list[tuple[str, tuple[str, ...]]]:
    log = DefectLog()
    report_repeats(utterances, {u.id: scene for u in utterances}, log)
    return [(defect.kind or defect.what.split(" ")[0], defect.ids) for defect in log.defects()]


def test_one_recording_in_two_splits_is_a_leak_with_and_without_times():
    assert report(said("a", "train", start_s=1.0, end_s=2.0), said("b", "test", start_s=1.0, end_s=2.0)) == [
        (LEAK, ("a", "b"))
    ]
    assert report(said("a", "train"), said("b", "test")) == [(LEAK, ("a", "b"))]
    assert report(said("a", "train", start_s=1.0), said("b", "test")) == []


def test_ids_come_in_pairs_by_the_first_of_them():
    first, second = {"start_s": 1.0, "end_s": 2.0}, {"start_s": 3.0, "end_s": 4.0}
    found = report(
        said("a", "train", **first), said("b", "train", **second), said("c", "dev", **second), said("d", "dev", **first)
    )
    assert found == [(LEAK, ("a", "d", "b", "c"))]


def test_a_repeat_has_equal_words_and_speaker_and_the_later_one_counts():
    found = report(
        said("a", "train", text="None", speaker=None, label="joy"),
        said("b", "train", text=None, speaker=None, label="joy"),
        said("c", "train", text="None", speaker=None, label="joy"),
        said("d", "train", text=None, speaker=None, label="anger"),
    )
    assert found == [("row", ("c", "d")), ("repeated", ("d",))]


def test_the_first_of_several_repeats_is_compared_even_if_it_has_no_label():
    found = report(said("a", "train"), said("b", "train", label="joy"), said("c", "train", labels=()))
    assert found == [("row", ("b", "c")), ("repeated", ("b", "c"))]


def test_utterances_of_no_known_recording_are_not_compared():
    log = DefectLog()
    report_repeats([said("a", "train"), said("b", "test")], {}, log)
    assert log.defects() == ()
