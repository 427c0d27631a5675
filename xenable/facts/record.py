# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts as JSON and back: what `xenable facts --json` prints and tests/machines/ keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any

from xenable.errors import XenableError
from xenable.machine import Facts
from xenable.model import SCHEMA


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """The facts as plain JSON: dictionaries, lists, text, numbers; `None` is null."""
    plain = _plain(dataclasses.asdict(facts))
    assert isinstance(plain, dict)
    return plain


def facts_from_json(document: Mapping[str, Any]) -> Facts:
    """The facts of a JSON document; one printed by a command (with a `schema`) is taken too.

    Errors: XenableError that names the field when one is missing, unknown or of the wrong type.
    """
    import dacite

    data = dict(document)
    schema = data.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise XenableError(
            f"cannot read recorded facts: they are of schema {schema}, not {SCHEMA}",
            hint="record them again with this version of xenable",
        )
    try:
        return dacite.from_dict(Facts, data, dacite.Config(cast=[tuple, Enum], strict=True))
    except (dacite.DaciteError, ValueError, TypeError) as e:
        raise XenableError(f"cannot read recorded facts: {e}") from e


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value
