"""The rows of an ablation of CARAT are settings that its network has."""

import inspect
import json

from dialog.models.carat import CARAT, WEIGHTS
from m2fnet.sweeps.carat_tables import CARAT as NAME
from m2fnet.sweeps.carat_tables import carat_tables
from m2fnet.sweeps.paper_tables import NET


def test_the_name_is_that_of_the_network():
    assert f"{CARAT.__module__}.{CARAT.__qualname__}" == NAME


def test_every_row_is_a_setting_of_the_network():
    known = inspect.signature(CARAT).parameters
    tables = {table.name: table for table in carat_tables(["text", "audio", "visual"])}
    for name in ("parts", "mends"):
        for part in tables[name].parts:
            for key in (part.key, *part.fixed):
                setting, _, term = key.removeprefix(f"{NET}.").partition(".")
                assert setting in known
                assert not term or term in WEIGHTS
    names = [row.name for table in tables.values() for row in table.rows]
    assert len(set(names)) == len(names)


def test_single_streams_are_rows():
    (part,) = carat_tables(["text", "audio"])[-1].parts
    assert [json.loads(row.value) for row in part.rows] == [["text"], ["audio"], ["text", "audio"]]
