# SPDX-License-Identifier: GPL-2.0-or-later
"""The real NetworkManager and systemd-networkd, in a root of their own, with interfaces as of guests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.package.archive import RETRIES, mirror
from xenable.plan import texts
from xenable.plan.network import NETWORKD, NETWORKMANAGER

OURS = "xenable0"
VIF = "vif1.0"
OTHER = "lan0"
"""Nobody told them to leave that one alone."""

# They take an interface at once where /sys can't be written to: nothing like udev will name it then.
WORLD = f"""set -e
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
for folder in run tmp; do mount -t tmpfs tmpfs $folder; done
mount --bind /dev dev
mkdir -p run/dbus run/systemd/netif
exec chroot . sh -ec '
chown systemd-network: /run/systemd/netif
ip link set lo up
for name in {OURS} {VIF} {OTHER}; do
    ip link add $name type veth peer name e-$name
    ip link set $name up
    ip link set e-$name up
done
ip address add 172.20.216.1/32 dev {OURS}
dbus-daemon --system --fork
"$@"' sh "$@"
"""

# Until it has taken what it takes, so that what it has not is what it leaves.
NETWORKMANAGER_SAYS = f"""NetworkManager --no-daemon >&2 &
for i in $(seq 100); do
    said=$(nmcli -t -f DEVICE,STATE device 2>/dev/null) || said=
    case $said in *"{OTHER}:connecting"*) break ;; esac
    sleep 0.2
done
echo "$said"
"""
NETWORKD_SAYS = f"""/usr/lib/systemd/systemd-networkd >&2 &
state() {{ sed -n s/ADMIN_STATE=//p /run/systemd/netif/links/$(cat /sys/class/net/$1/ifindex) 2>/dev/null; }}
for i in $(seq 100); do
    said=
    for name in {OURS} {VIF} {OTHER}; do said="$said$name:$(state $name)
"; done
    case $said in *:pending* | *:initialized* | *:[!a-z]*) sleep 0.2 ;; *) break ;; esac
done
echo "$said"
"""

pytestmark = [
    pytest.mark.realtool,
    pytest.mark.package,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("mmdebstrap") is None, reason="needs root rights and mmdebstrap"
    ),
]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with both, of a release."""
    target = tmp_path_factory.mktemp("managers") / "root"
    packages = "--include=dbus,iproute2,network-manager,systemd"
    command = [
        "mmdebstrap",
        "--variant=essential",
        f"--aptopt={RETRIES}",
        packages,
        request.param,
        target,
        mirror(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def states(root: Path, script: str) -> dict[str, str]:
    """What a manager calls each interface, once it has taken the one that is not ours."""
    alone = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--uts"]
    command = [*alone, "timeout", "60", "sh", "-c", WORLD, "sh", "sh", "-c", script]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(re.findall(r"^(\S+?):(.*)$", done.stdout, re.MULTILINE))
    assert {OURS, VIF, OTHER} <= set(found), done.stdout + done.stderr
    return found


def write(root: Path, path: str, text: str) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


@pytest.mark.parametrize(
    "theirs",
    [
        "",
        # Read after ours, it takes back what another file says in this place.
        "[keyfile]\nunmanaged-devices=interface-name:e*\n",
    ],
)
def test_networkmanager(root: Path, theirs: str) -> None:
    write(root, "/etc/NetworkManager/conf.d/site.conf", theirs)
    write(root, NETWORKMANAGER, "")
    alone = states(root, NETWORKMANAGER_SAYS)
    # What has an address already is "connecting (externally)" for a moment, then "connected (externally)".
    assert alone[VIF].startswith("connecting") and alone[OURS].startswith("connect")
    write(root, NETWORKMANAGER, texts.unmanaged_by_networkmanager(OURS))
    told = states(root, NETWORKMANAGER_SAYS)
    assert (told[VIF], told[OURS]) == ("unmanaged", "unmanaged")
    assert told[OTHER].startswith("connecting")


def test_networkd(root: Path) -> None:
    write(root, "/etc/systemd/network/90-all.network", "[Match]\nType=ether\n[Network]\nDHCP=yes\n")
    write(root, NETWORKD, "")
    alone = states(root, NETWORKD_SAYS)
    assert "unmanaged" not in (alone[VIF], alone[OURS], alone[OTHER])
    write(root, NETWORKD, texts.unmanaged_by_networkd(OURS))
    told = states(root, NETWORKD_SAYS)
    assert (told[VIF], told[OURS]) == ("unmanaged", "unmanaged")
    assert told[OTHER] != "unmanaged"
