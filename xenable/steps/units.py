# SPDX-License-Identifier: GPL-2.0-or-later
"""Enable a systemd unit, so that it starts at boot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.errors import XenableError
from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step

ADMIN = Path("/etc/systemd/system")
UNIT_FOLDERS = (ADMIN, Path("/usr/local/lib/systemd/system"), Path("/usr/lib/systemd/system"))
"""From systemd.unit(5), the first one wins; /lib is /usr/lib on every supported release."""

INSTALL_KEYS = {"WantedBy": "wants", "RequiredBy": "requires", "UpheldBy": "upholds"}
"""Keys of [Install] and the ending of the folder where the link goes."""


@dataclass(frozen=True, kw_only=True)
class EnableUnit(Step):
    """A unit by its full name: xenable-gate.service."""

    kind: ClassVar[str] = "enable-unit"

    unit: str

    def title(self) -> str:
        return f"enable {self.unit}"

    def preview(self, host: Host) -> Preview:
        links = sorted(_declared(host, self.unit) - set(_links(host, self.unit)))
        return Preview(title=self.title(), detail="".join(f"new link {path}\n" for path in links))

    def is_done(self, host: Host) -> bool:
        links = _links(host, self.unit)
        declared = _declared(host, self.unit)
        return bool(declared) and declared <= set(links) and not _masked(links)

    def save(self, host: Host) -> Saved:
        declared = _declared(host, self.unit)
        folders = {str(Path(path).parent) for path in declared}
        return {
            "links": _links(host, self.unit),
            "declared": sorted(declared),
            "folders": sorted(folder for folder in folders if not host.exists(folder)),
        }

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        if self.is_done(host):
            return
        if _masked(_links(host, self.unit)):
            raise XenableError(
                f"cannot enable {self.unit}: it is masked",
                hint=f"run `systemctl unmask {self.unit}`, then the command again",
            )
        # Nothing is started before the next boot, which reads all anew: a reload would only take its time.
        host.run(["systemctl", "--no-reload", "enable", self.unit])

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        known = set(saved["links"]) | set(saved["declared"])
        now = _links(host, self.unit)
        foreign = sorted(set(now) - known)
        if not foreign:
            return ()
        what = f"{self.unit} was masked since" if _masked(now) else f"links to {self.unit} were added since"
        return (Obstacle(what=what, diff="".join(f"+{path} -> {now[path]}\n" for path in foreign)),)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        before: dict[str, str] = saved["links"]
        now = _links(host, self.unit)
        # By the links themselves and not by `systemctl disable`: the unit file may be gone by now, and links
        # that the machine's owner had made must come back as they were.
        for path in sorted(set(now) | set(before) | set(saved["declared"])):
            if path in before:
                if now.get(path) != before[path]:
                    host.make_folder(Path(path).parent)
                    host.symlink(path, before[path])
                host.clean(path)
            else:
                host.remove(path)
        snapshot.remove_folders(host, saved["folders"])


def _links(host: Host, unit: str) -> dict[str, str]:
    """Every link of the administrator's that names a unit or leads to it, with its target."""
    found = {}
    for path in _paths(host):
        target = host.link_target(path)
        if target and unit in (path.name, Path(target).name):
            found[str(path)] = target
    return found


def _paths(host: Host) -> Iterator[Path]:
    for name in host.names(ADMIN):
        path = ADMIN / name
        yield path
        if name.endswith((".wants", ".requires", ".upholds")):
            yield from (path / inner for inner in host.names(path))


def _masked(links: dict[str, str]) -> bool:
    return any(Path(path).parent == ADMIN and target == "/dev/null" for path, target in links.items())


def _declared(host: Host, unit: str) -> set[str]:
    """Links that `systemctl enable` makes for a unit, from its [Install] section: systemd.unit(5)."""
    text = next((t for t in (host.text(folder / unit) for folder in UNIT_FOLDERS) if t), "")
    links = set()
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        key, _, value = line.partition("=")
        if section != "[Install]":
            continue
        if key.strip() in INSTALL_KEYS:
            ending = INSTALL_KEYS[key.strip()]
            links |= {str(ADMIN / f"{name}.{ending}" / unit) for name in value.split()}
        elif key.strip() == "Alias":
            links |= {str(ADMIN / name) for name in value.split()}
    return links
