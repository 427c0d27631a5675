# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON documents that `--json` prints: one a command, each with the version of its schema.

Within a version, fields are added but never taken away or given another meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TextIO

from xenable.machine import Facts, Packages
from xenable.model import SCHEMA, Finding, Preview, Severity, Status

Document = dict[str, Any]


def facts_document(facts: Facts) -> Document:
    """What facts_from_json of xenable.facts.record reads back."""
    from xenable.facts.record import facts_to_json

    return {"schema": SCHEMA, **facts_to_json(facts)}


def findings_document(findings: Sequence[Finding], overrides: Collection[str], *, ready: bool) -> Document:
    return {
        "schema": SCHEMA,
        "ready": ready,
        "findings": [
            {
                **dataclasses.asdict(f),
                "overridden": f.severity is Severity.OVERRIDABLE and f.id in overrides,
            }
            for f in findings
        ],
    }


def plan_document(steps: Sequence[tuple[str, Preview]], packages: Packages, *, ready: bool) -> Document:
    """Steps are (kind, preview) in the order they would be done."""
    return {
        "schema": SCHEMA,
        "ready": ready,
        "steps": [{"kind": kind, "title": p.title, "detail": p.detail} for kind, p in steps],
        "packages": {
            "install": [dataclasses.asdict(p) for p in packages.new],
            "upgrade": [dataclasses.asdict(p) for p in packages.upgraded],
            "remove": list(packages.removed),
            "download_bytes": packages.download_bytes,
            "installed_kib": packages.installed_kib,
        },
    }


def status_document(
    state: Status, reason: str, running: str, next_boot: str, versions: Mapping[str, str]
) -> Document:
    return {
        "schema": SCHEMA,
        "state": state.value,
        "reason": reason,
        "running": running,
        "next_boot": next_boot,
        "versions": dict(versions),
    }


def result_document(result: str, steps: Sequence[tuple[str, str, str]], state: Status) -> Document:
    """Steps are (kind, title, state of the journal)."""
    return {
        "schema": SCHEMA,
        "result": result,
        "steps": [{"kind": kind, "title": title, "state": at} for kind, title, at in steps],
        "state": state.value,
    }


def report_document(path: str) -> Document:
    return {"schema": SCHEMA, "result": "written", "path": path}


def error_document(message: str, hint: str, status: int) -> Document:
    return {"schema": SCHEMA, "error": message, "hint": hint, "status": status}


def print_document(document: Document, stream: TextIO) -> None:
    """Write one document and its end of line."""
    import json

    # ASCII with escapes: it is right in every encoding that a pipe may have.
    stream.write(json.dumps(document, indent=2) + "\n")
    stream.flush()
