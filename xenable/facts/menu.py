# SPDX-License-Identifier: GPL-2.0-or-later
"""GRUB's menu, settings and environment block as they are on disk."""

from __future__ import annotations

import re
import time

from xenable.boot.inputs import COMMAND_LINES
from xenable.facts.files import modified
from xenable.facts.grub_script import Block, Word, parse_grub_script
from xenable.host import Host
from xenable.machine import Answer, GrubSetting, Menu, MenuEntry

CONFIG = "/boot/grub/grub.cfg"
ENVIRONMENT_BLOCK = "/boot/grub/grubenv"
SETTINGS = "/etc/default/grub"
SETTINGS_FOLDER = "/etc/default/grub.d"
GENERATORS = "/etc/grub.d"
OURS = "90_xenable"

OPTIONS_WITH_VALUE = ("--class", "--users", "--hotkey", "--id", "--source")
LINUX = ("linux", "linux16", "linuxefi")
LOADERS = ("multiboot", "multiboot2", "xen_hypervisor", "chainloader")

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ASSIGNMENT = re.compile(rf"(?:export\s+)?({_NAME})(\+?=)(.*)", re.DOTALL)
_DOUBLE = r"(?:\\.|[^\"\\])*"
_QUOTED = rf"'[^']*'|\"{_DOUBLE}\"|\\.|\$\([^()]*(?:\([^()]*\)[^()]*)*\)"
_VARIABLE = (
    rf"\$(?:\{{(?P<name>{_NAME})(?:(?P<operator>:?[-+])(?P<word>[^{{}}'\"`\\]*))?\}}|(?P<bare>{_NAME}))"
)
"""The words of the operators are those without quotes and braces; others are for a shell."""
_ELSEWHERE = re.compile(rf"(?:^|[\s()&|{{;])({_NAME})\+?=")
"""An assignment that may or may not be made: `[ … ] || NAME=…`, `pattern) NAME=…`."""
_DEFAULTS = re.compile(rf"\$\{{({_NAME}):?=")
"""The same: `: "${NAME:=…}"`."""
_OPENS = re.compile(r"(if|case|for|while|until)\b|.*[({]\s*$", re.DOTALL)
_CLOSES = re.compile(r"(fi|esac|done|\}|\))(?=\s|;|$)")


def probe_menu(host: Host) -> Menu:
    text = host.text(CONFIG)
    variables = parse_grubenv(host.text(ENVIRONMENT_BLOCK))
    settings = grub_settings(host)
    default = settings.get("GRUB_DEFAULT", "0")
    if default is None:
        default = _generated_default(text)
    return Menu(
        readable=bool(text),
        entries=parse_grub_cfg(text),
        grub_default=default,
        saved_entry=variables.get("saved_entry", ""),
        next_entry=variables.get("next_entry", ""),
        stale=_stale(host),
        behind=_behind(text),
        command_lines=tuple(
            GrubSetting(name=name, value=settings[name]) for name in COMMAND_LINES if name in settings
        ),
    )


def parse_grub_cfg(text: str) -> tuple[MenuEntry, ...]:
    """The entries of a grub.cfg in the order of the menu; submenus are seen in the paths of what is in them.

    Entries inside of a condition count as if it were true. Broken text yields what could be understood.
    """
    entries: list[MenuEntry] = []
    _collect(parse_grub_script(text), ("", "", ""), entries, [0])
    return tuple(entries)


def _behind(text: str) -> tuple[int, ...]:
    """The entries of generators that come behind Xenable's, by the order of their names."""
    begins = re.finditer(r"(?m)^### BEGIN /etc/grub\.d/(\S+) ###$", text)
    cut = next((begin.start() for begin in begins if begin[1] > OURS), None)
    if cut is None:
        return ()
    here, before = (
        {int(entry.numbers.partition(">")[0]) for entry in parse_grub_cfg(part)}
        for part in (text, text[:cut])
    )
    return tuple(sorted(here - before))


def _stale(host: Host) -> Answer:
    made = modified(host, CONFIG)
    if made is None:
        return Answer.UNKNOWN
    settings = (f"{SETTINGS_FOLDER}/{name}" for name in host.names(SETTINGS_FOLDER) if name.endswith(".cfg"))
    generators = (f"{GENERATORS}/{name}" for name in host.names(GENERATORS))
    times = (modified(host, path) for path in (SETTINGS, *settings, *generators))
    # From the future is what was written while the clock was wrong: no update-grub could make that good.
    now = time.time()
    return Answer.of(any(changed is not None and made < changed <= now for changed in times))


def parse_grubenv(text: str) -> dict[str, str]:
    """Variables of an environment block; empty when it is none."""
    if not text.startswith("# GRUB Environment Block\n"):
        return {}
    variables = {}
    for row in re.split(r"(?<!\\)\n", text):
        name, equals, value = row.partition("=")
        if equals and not name.startswith("#"):
            variables[name] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
    return variables


def grub_settings(host: Host) -> dict[str, str | None]:
    """What /etc/default/grub and grub.d/*.cfg set, in the order in which grub-mkconfig reads them.

    They are shell scripts: a value that only a shell could tell (from a condition or a command) is None.
    """
    values: dict[str, str | None] = {}
    names = [name for name in host.names(SETTINGS_FOLDER) if name.endswith(".cfg")]
    for path in (SETTINGS, *(f"{SETTINGS_FOLDER}/{name}" for name in names)):
        read_settings(host.text(path), values)
    return values


def read_settings(text: str, values: dict[str, str | None]) -> None:
    """Add the simple assignments of a shell script to values; what is not that simple becomes None."""
    depth = 0
    for command in _commands(text):
        if _CLOSES.match(command):
            depth = max(depth - 1, 0)
        command = re.sub(r"^(then|else|do)\s+", "", command)
        found = _ASSIGNMENT.match(command)
        if found:
            name, operator, raw = found.groups()
            value = _shell_value(raw, values) if depth == 0 else None
            if operator == "+=" and value is not None:
                before = values.get(name, "")
                value = None if before is None else before + value
            values[name] = value
        elif _OPENS.match(command):
            depth += 1
        rest = command[found.start(3) - 1 :] if found else command
        unquoted = re.sub(_QUOTED, "''", rest, flags=re.DOTALL)
        for other in (*_ELSEWHERE.findall(unquoted), *_DEFAULTS.findall(rest)):
            values[other] = None


def _collect(
    block: Block, above: tuple[str, str, str], entries: list[MenuEntry], counter: list[int]
) -> None:
    for command in block.commands:
        if command.name not in ("menuentry", "submenu") or command.body is None:
            if command.body is not None and command.name != "function":
                _collect(command.body, above, entries, counter)
            continue
        title, own_id = _title_and_id(command.words[1:])
        number = counter[0]
        counter[0] += 1
        ids, titles, numbers = (
            f"{up}>{name}" if above[2] else name
            for up, name in zip(
                above, (own_id.replace(">", ">>"), title.replace(">", ">>"), str(number)), strict=True
            )
        )
        if command.name == "submenu":
            _collect(command.body, (ids, titles, numbers), entries, [0])
            continue
        entries.append(
            MenuEntry(
                id=own_id,
                title=title,
                path=ids,
                loads_xen=_loads_xen(command.body),
                titles=titles,
                numbers=numbers,
                kernel=_kernel(command.body),
            )
        )


def _title_and_id(words: tuple[Word, ...]) -> tuple[str, str]:
    title: str | None = None
    own_id = ""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in OPTIONS_WITH_VALUE:
            value = value if equals else next(rest, "")
            own_id = value if name == "--id" else own_id
        elif not word.startswith("--") and title is None:
            title = word
    return title or "", own_id or title or ""


def _loads_xen(block: Block) -> bool:
    for command in block.commands:
        names = [word.rpartition("/")[2] for word in command.words[1:]]
        if command.name in LOADERS and any(name.lower().startswith("xen") for name in names):
            return True
        if command.name in ("source", ".", "configfile") and any(
            "/xenable/" in word for word in command.words
        ):
            return True
        if command.body is not None and _loads_xen(command.body):
            return True
    return False


def _kernel(block: Block) -> str:
    for command in block.commands:
        if command.name in LINUX:
            found = re.search(r"/vmlinu[xz]-([^/$]+)$", command.words[1] if command.words[1:] else "")
            return found[1] if found else ""
        if command.body is not None and (version := _kernel(command.body)):
            return version
    return ""


def _generated_default(text: str) -> str:
    """GRUB_DEFAULT as the shell computed it when grub.cfg was generated."""
    for command in parse_grub_script(text).commands:
        found = re.match(r'set\s+default="(.*)"$', command.text.strip())
        if found and found[1] == "${saved_entry}":
            return "saved"
        if found and found[1] != "${next_entry}":
            return re.sub(r"\\(.)", r"\1", found[1])
    return "0"


def _commands(text: str) -> list[str]:
    """The commands of a shell script, one by one, comments left out."""
    pattern = rf"{_QUOTED}|(?P<comment>(?<!\S)#[^\n]*)|(?P<end>[\n;])|."
    commands: list[str] = []
    current: list[str] = []
    for found in re.finditer(pattern, text, re.DOTALL):
        if found["end"]:
            commands.append("".join(current).strip())
            current = []
        elif not found["comment"] and found[0] != "\\\n":
            current.append(found[0])
    commands.append("".join(current).strip())
    return [command for command in commands if command]


def _shell_value(raw: str, values: dict[str, str | None]) -> str | None:
    result: list[str] = []
    pattern = (
        rf"'(?P<single>[^']*)'|\"(?P<double>{_DOUBLE})\"|\\(?P<escaped>.)"
        rf"|(?P<plain>[^\s'\"\\`$&|<>()]+)|{_VARIABLE}"
    )
    position = 0
    while position < len(raw) and not raw[position].isspace():
        found = re.compile(pattern, re.DOTALL).match(raw, position)
        if found is None:
            return None
        position = found.end()
        if found["double"] is not None:
            inside = _expand(found["double"], values)
        elif found["name"] or found["bare"]:
            inside = _variable(found, values)
        else:
            inside = next(
                text for text in (found["single"], found["escaped"], found["plain"]) if text is not None
            )
        if inside is None:
            return None
        result.append(inside)
    # A command after the assignment would make it one for that command alone.
    return "".join(result) if not raw[position:].strip() else None


def _expand(text: str, values: dict[str, str | None]) -> str | None:
    """The inside of a double-quoted word; None when a command would have to be run."""
    result = []
    pattern = rf"\\(?P<escaped>[\\$\"`])|{_VARIABLE}|(?P<special>[`$])|(?P<plain>.)"
    for found in re.finditer(pattern, text, re.DOTALL):
        if found["special"]:
            return None
        if found["name"] or found["bare"]:
            value = _variable(found, values)
            if value is None:
                return None
            result.append(value)
        else:
            result.append(found["escaped"] or found["plain"])
    return "".join(result)


def _variable(found: re.Match[str], values: dict[str, str | None]) -> str | None:
    """What a variable stands for, `${NAME:-WORD}` and `${NAME:+WORD}` too; None when it is not known."""
    name = found["name"] or found["bare"]
    value = values.get(name, "")
    operator = found["operator"] or ""
    if value is None or not operator:
        return value
    # Without the colon an empty value counts as one.
    there = bool(value) if ":" in operator else name in values
    if "+" in operator:
        return _expand(found["word"], values) if there else ""
    return value if there else _expand(found["word"], values)
