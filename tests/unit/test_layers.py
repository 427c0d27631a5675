# SPDX-License-Identifier: GPL-2.0-or-later
"""Which part may import which: the layers of HACKING.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "xenable"

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "machine", "model", "datafiles", "redact"}),
    frozenset({"hostio"}),
    frozenset({"host"}),
    frozenset({"journal"}),
    frozenset({"config", "boot", "network"}),
    frozenset({"facts"}),
    frozenset({"health", "watchdog", "trialrecord"}),
    frozenset({"diagnosis"}),
    frozenset({"trial"}),
    frozenset({"steps"}),
    frozenset({"checks", "plan"}),
    frozenset({"engine"}),
    frozenset({"convert", "gate", "guests", "kernels"}),
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


DOOR = frozenset({"host.py", "hostio.py"})
"""What stands between all else and the machine."""

PAST_THE_DOOR = {
    # Python's own: apt forks, and dpkg's locks are asked for, not taken.
    "steps/transaction.py": {"fcntl", "os.fork", "os.open"},
    # Read in pieces, as it may be big.
    "facts/initrd.py": {"os.open"},
    # /dev/null for a stdout that nobody reads.
    "__main__.py": {"os.open"},
}

MODULES = frozenset({"subprocess", "fcntl", "ctypes", "multiprocessing", "tempfile", "pty", "mmap"})
CALLS = frozenset(
    f"os.{name}"
    for name in (
        *("open", "write", "pwrite", "truncate", "ftruncate", "fchmod", "fchown", "setxattr", "utime"),
        *("rename", "replace", "link", "symlink", "unlink", "remove", "mkdir", "makedirs", "rmdir", "mknod"),
        *("chmod", "chown", "mount", "fork", "kill", "system", "popen", "posix_spawn", "posix_spawnp"),
        *("execv", "execve", "execvp", "execvpe", "execl", "execlp"),
    )
)
METHODS = frozenset(
    ("write_text", "write_bytes", "mkdir", "unlink", "touch", "symlink_to", "hardlink_to", "rmdir", "rmtree")
)
"""Of Path and shutil; none of Host has such a name."""


def past_the_door(path: Path) -> Iterator[str]:
    """What a module does to the machine by itself."""
    yield from (name for name in imports(path) if name in MODULES)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in CALLS:
            yield name
        elif isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            yield node.func.attr
        elif name == "open" or (isinstance(node.func, ast.Attribute) and node.func.attr == "open"):
            words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            if name != "tarfile.open" and any(set(str(word)) & set("wax+") for word in words):
                yield name


def test_only_the_door_runs_commands_or_writes() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name not in DOOR:
            assert set(past_the_door(path)) == PAST_THE_DOOR.get(name, set()), name


def test_guests_and_their_network_are_read_through_the_door_too() -> None:
    for folder in ("guests", "kernels", "network"):
        for path in (PACKAGE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    text = ast.unparse(node.func)
                    past = text.startswith(("host.path(", "Path(")) or text in (
                        "open",
                        "Path.cwd",
                        "os.stat",
                    )
                    assert not past, f"{path}: {ast.unparse(node)}"


def test_only_the_door_knows_what_it_is_made_of() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name not in DOOR:
            assert "xenable.hostio" not in imports(path), path


def test_what_is_past_the_door_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    for text, found in (
        ("import subprocess", "subprocess"),
        ("from fcntl import flock", "fcntl"),
        ("os.execvpe('a', [], {})", "os.execvpe"),
        ("host.path('/a').open('wb')", "host.path('/a').open"),
        ("open('/a', 'w')", "open"),
        ("Path('/a').write_bytes(b'')", "write_bytes"),
        ("host.write('/a', b''); host.rename('/a', '/b'); host.path('/a').open('rb')", ""),
    ):
        module.write_text(text)
        assert list(past_the_door(module)) == ([found] if found else []), text


def test_the_lab_is_a_separate_program() -> None:
    for path in (TOP / "lab").rglob("*.py"):
        assert not any(name.split(".")[0] == "xenable" for name in imports(path)), path
