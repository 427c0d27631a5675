# SPDX-License-Identifier: GPL-2.0-or-later
"""guest.json: what is written comes back, and damage is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.guests.fixtures import CASES, guests, make_guest
from xenable.errors import XenableError
from xenable.guests.model import Boot, Guest, Kind, Seed, as_dict, from_json, to_json


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name: str) -> None:
    guest = make_guest(**CASES[name])
    back = from_json(to_json(guest))
    assert back == guest
    assert isinstance(back.kind, Kind) and isinstance(back.boot, Boot) and isinstance(back.seed_kind, Seed)


@given(guests())
def test_any_guest_comes_back(guest: Guest) -> None:
    assert from_json(to_json(guest)) == guest


def test_as_dict_is_plain() -> None:
    plain = as_dict(make_guest())
    assert plain["kind"] == "pvh" and type(plain["kind"]) is str
    assert "schema" not in plain
    assert json.loads(to_json(make_guest()))["schema"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "cannot read web1/guest.json: it is of schema 2, not 1"),
        ({"schema": None}, "it is of schema None, not 1"),
        ({"schema": True}, "it is of schema True, not 1"),
        ({"kind": "hvm"}, "'hvm' is not a valid Kind"),
        ({"kind": []}, "[] is not a valid Kind"),
        ({"memory": "512"}, "damaged"),
        ({"memory": True}, "memory is True"),
        ({"memory": 0}, "memory is 0, not a number above 0"),
        ({"vcpus": -1}, "vcpus is -1"),
        ({"disk_bytes": 1.5}, "damaged"),
        ({"isolate": 1}, "damaged"),
        ({"name": None}, "damaged"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_damage_is_told(changes: dict[str, Any], message: str) -> None:
    document = json.loads(to_json(make_guest())) | changes
    with pytest.raises(XenableError) as e:
        from_json(json.dumps(document), "web1/guest.json")
    assert message in e.value.message
    assert e.value.hint


@pytest.mark.parametrize("field", ["name", "mac", "isolate", "created"])
def test_a_missing_field_is_damage(field: str) -> None:
    document = json.loads(to_json(make_guest()))
    del document[field]
    with pytest.raises(XenableError, match=field):
        from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"x"', "[" * 100000, "\0", "NaN"])
def test_what_is_no_object_is_damage(text: str) -> None:
    with pytest.raises(XenableError, match="it is damaged"):
        from_json(text)


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(XenableError):
        from_json(text)
