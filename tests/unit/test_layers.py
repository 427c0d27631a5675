# SPDX-License-Identifier: GPL-2.0-or-later
"""Which part may import which: the layers of HACKING.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "xenable"

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "model", "datafiles", "redact"}),
    frozenset({"host"}),
    frozenset({"journal"}),
    frozenset({"config", "boot"}),
    frozenset({"facts"}),
    frozenset({"health", "watchdog"}),
    frozenset({"trial"}),
    frozenset({"steps"}),
    frozenset({"checks", "plan"}),
    frozenset({"engine"}),
    frozenset({"convert", "gate"}),
    frozenset({"ui"}),
    frozenset({"report"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
"""From the ground up: a part imports its own layer and those above it in this list."""


def part_of(name: str) -> str:
    return name.split(".")[1] if name.startswith("xenable.") else ""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "xenable":
                yield from (f"xenable.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def height(part: str) -> int:
    return next(n for n, layer in enumerate(LAYERS) if part in layer)


def test_nothing_imports_upwards() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for name in imports(path):
            other = part_of(name)
            if other and other != "__version__":
                assert height(other) <= height(part), f"{path.name} ({part}) imports {name}"


def test_checks_and_plans_do_not_touch_the_machine() -> None:
    for folder in ("checks", "plan"):
        for path in (PACKAGE / folder).rglob("*.py"):
            for name in imports(path):
                assert part_of(name) not in ("host", "facts"), f"{path} imports {name}"


def test_the_lab_is_a_separate_program() -> None:
    for path in (TOP / "lab").rglob("*.py"):
        assert not any(name.split(".")[0] == "xenable" for name in imports(path)), path
