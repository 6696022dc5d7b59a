"""Settings of older runs under the names of today."""

import pytest

from m2fnet.runs.folder import trained_settings
from m2fnet.runs.renamed import RENAMED, with_current_names


@pytest.mark.parametrize(("before", "now"), RENAMED.items())
def test_every_renamed_key_is_found_in_its_place(before, now):
    settings = "value"
    for name in reversed(before.split(".")):
        settings = {name: settings}
    found = with_current_names(settings)
    for name in now.split("."):
        found = found[name]
    assert found == "value"
    last = before.rpartition(".")[2]
    assert with_current_names({last: 1}) == {last: 1}  # the same name elsewhere is another setting


def test_a_key_under_both_names_is_left_to_the_parser():
    both = {"model": {"literal": True, "as_printed": False}}
    assert with_current_names(both) == both


def test_the_settings_of_an_older_run_have_the_names_of_today(tmp_path):
    (tmp_path / "config.yaml").write_text("model: {literal: [triplet]}\n", encoding="utf-8")
    assert trained_settings(tmp_path) == {"model": {"as_printed": ["triplet"]}}
