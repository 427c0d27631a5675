# SPDX-License-Identifier: GPL-2.0-or-later
"""A dom0 and guests out of network namespaces: what runs is the real sh, nft and ip on real frames.

The sandbox of the contract tests gets a network namespace of its own. A guest is one more, at the other end
of a virtual cable, whose end in dom0 is called as netback would call it. Of Xen there is only the store: a
folder, and the three programs that read and write it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from tests.contract.sandbox import CLONE_NEWNS, MS_PRIVATE, MS_REC, REPOSITORY, inside, libc
from xenable.network.effective import PATH, GuestNet, Mode, render

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

NET = GuestNet(
    mode=Mode.ROUTED,
    interface="xenable0",
    ipv4=IPv4Network("172.20.216.0/24"),
    ipv6=IPv6Network("fd12:3456:789a:d8::/64"),
)
GATEWAY_MAC = "fe:ff:ff:ff:ff:ff"
STORE = Path("/fake/store")
BIN = Path("/fake/bin")
LOG = Path("/fake/log")
SCRIPT = "/etc/xen/scripts/vif-xenable"

# What xenstore_client.c of Xen prints for `ls -f`: `PATH/KEY = "VALUE"` in the store's order, children after
# their parent; the path as it was given. A relative one is below /local/domain/0.
LS = f"""#!/bin/sh
echo xenstore-ls >>{LOG}
[ "$1" = -f ] || exit 64
case $2 in /*) at={STORE}$2 ;; *) at={STORE}/local/domain/0/$2 ;; esac
[ -d "$at" ] || {{ echo "xenstore-ls: xs_directory ($2): No such file or directory" >&2; exit 1; }}
cd "$at"
find . -type f | sed 's|^[.]/||' | while read -r key; do
	printf '%s/%s = "%s"\\n' "$2" "$key" "$(cat "$key")"
done
"""
READ = f"""#!/bin/sh
echo xenstore-read >>{LOG}
for key; do
	cat "{STORE}$key" 2>/dev/null || {{ echo "xenstore-read: couldn't read path $key" >&2; exit 1; }}
	echo
done
"""
WRITE = f"""#!/bin/sh
echo xenstore-write >>{LOG}
while [ $# -gt 1 ]; do
	case $1 in /*) at={STORE}$1 ;; *) at={STORE}/local/domain/0/$1 ;; esac
	mkdir -p "${{at%/*}}"
	printf %s "$2" >"$at"
	shift 2
done
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Guest:
    """Its interface in dom0 is `vif`; its own is eth0, in the network namespace of the process `pid`."""

    pid: int
    domain: int
    vif: str
    mac: str

    @property
    def backend(self) -> str:
        return f"backend/vif/{self.domain}/0"


def dom0(work: Callable[[], None], net: GuestNet = NET) -> None:
    """Run a function in a dom0 with a guest network; its failure is the test's."""

    def prepare() -> None:
        check(libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
        check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        check(libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None))
        # Frames that one processor handles keep their order.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for name, text in (("ls", LS), ("read", READ), ("write", WRITE)):
            executable(BIN / f"xenstore-{name}", text)
        for name in ("nft", "ip"):
            real = run("sh", "-c", f"command -v {name}").out.strip()
            executable(BIN / name, f'#!/bin/sh\necho {name} >>{LOG}\nexec {real} "$@"\n')
        os.environ["PATH"] = f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin"
        LOG.touch()
        Path("/usr/share/xenable").mkdir(parents=True, exist_ok=True)
        Path("/usr/share/xenable/network").symlink_to(REPOSITORY / "data/network")
        executable(Path(SCRIPT), (REPOSITORY / "data/network/vif-shim").read_text())
        settings(net)
        must("ip link set lo up")
        # Stands in for the dummy interface, whose driver not every kernel of a test machine has.
        must("ip link add name xenable0 type bridge")
        must("/usr/share/xenable/network/network up")
        work()

    inside(prepare)


def settings(net: GuestNet) -> None:
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(render(net))


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def check(code: int) -> None:
    if code != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def run(*cmd: str, **env: str) -> Ran:
    done = subprocess.run(
        cmd, check=False, capture_output=True, text=True, env={**os.environ, **env}, timeout=120
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def must(line: str) -> str:
    ran = run("sh", "-ec", line)
    assert ran.code == 0, f"{line}: {ran.out}{ran.err}"
    assert not ran.err, f"{line} complains: {ran.err}"
    return ran.out


def network(action: str) -> str:
    return must(f"/usr/share/xenable/network/network {action}")


# ---------------------------------------------------------------------------------------------------- guests


def guest(domain: int, *, name: str = "", vif: str = "", **store: str) -> Guest:
    """A guest that has been built and not yet connected; `store` is what its vif line says."""
    vif = vif or f"vif{domain}.0"
    mac = f"00:16:3e:00:00:{domain:02x}"
    pid = _namespace()
    must(f"ip link add {vif} type veth peer name eth0 netns {pid}")
    must(f"ip link set {vif} address {GATEWAY_MAC}")
    one = Guest(pid=pid, domain=domain, vif=vif, mac=mac)
    with at(one):
        must(f"ip link set lo up; ip link set eth0 address {mac}")
    values = {"frontend-id": str(domain), "script": SCRIPT, "mac": mac, "bridge": "xenbr0", "state": "2"}
    for key, value in {**values, **store}.items():
        write(f"{one.backend}/{key}", value)
    write(f"/local/domain/{domain}/name", name or f"guest{domain}")
    return one


def write(key: str, value: str) -> None:
    path = STORE / key.lstrip("/") if key.startswith("/") else STORE / "local/domain/0" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value)


def read(key: str) -> str:
    path = STORE / "local/domain/0" / key
    return path.read_text() if path.exists() else ""


def hotplug(one: Guest, action: str, type_if: str = "vif", **env: str) -> Ran:
    """What libxl does: it asks the script named in the store."""
    name = f"vif{one.domain}.0"
    known = {"XENBUS_PATH": one.backend, "XENBUS_TYPE": "vif", "script": SCRIPT, "netdev": "", "vif": name}
    return run(SCRIPT, action, f"type_if={type_if}", **{**known, **env})


def online(one: Guest) -> Guest:
    ran = hotplug(one, "online")
    assert (ran.code, ran.err) == (0, ""), ran
    assert read(f"{one.backend}/hotplug-status") == "connected"
    return one


def connected(domain: int, ip: str, **more: str) -> Guest:
    """A guest that runs: connected, and its own side set up as its image would do it."""
    one = online(guest(domain, ip=ip, **more))
    with at(one):
        must("ip link set eth0 up")
        for address in ip.split():
            gateway, length = (NET.address6, "128 nodad") if ":" in address else (NET.address4, "32")
            must(f"ip address add {address}/{length.split()[0]} dev eth0 {' '.join(length.split()[1:])}")
            must(f"ip route add {gateway} dev eth0; ip route add default via {gateway} dev eth0")
    return one


def opened(name: str) -> None:
    flag = Path("/var/lib/xenable/guests") / name / "open"
    flag.parent.mkdir(parents=True, exist_ok=True)
    flag.touch()


def _namespace() -> int:
    """A process with a network namespace of its own, which ends with us."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        code = libc.unshare(CLONE_NEWNET)
        os.write(writer, b"x" if code == 0 else b"")
        os.close(writer)
        signal.pause()
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    return pid


@contextlib.contextmanager
def at(one: Guest) -> Iterator[None]:
    """Be in the guest: what is run and what sockets are made are in its network."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{one.pid}/ns/net", os.O_RDONLY)
    check(libc.setns(there, CLONE_NEWNET))
    try:
        yield
    finally:
        check(libc.setns(home, CLONE_NEWNET))
        os.close(there)
        os.close(home)


# --------------------------------------------------------------------------------------------------- looking


def ruleset() -> str:
    return must("nft list ruleset")


def counted(vif: str) -> int:
    """Frames that the rules of an interface have counted."""
    found = json.loads(must("nft -j list counters table netdev xenable"))["nftables"]
    return next(int(c["counter"]["packets"]) for c in found if c.get("counter", {}).get("name") == vif)


def sends(source: Guest, target: Guest | None, address: str, pretended: str = "", port: int = 7777) -> bool:
    """Whether a datagram of a guest reaches another, or dom0, and the answer comes back: their real stacks.

    Pretended is an address that the guest gives itself for it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        with at(target) if target else contextlib.nullcontext():
            listener = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        with at(source):
            sender = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            if pretended:
                must(f"ip address replace {pretended}/32 dev eth0")
                sender.bind((pretended, 0))
        listener.bind(("::" if family == socket.AF_INET6 else "", port))
        listener.settimeout(1.0)
        sender.settimeout(1.0)
        try:
            sender.sendto(b"hello", (address, port))
            data, where = listener.recvfrom(100)
            listener.sendto(b"back", where)
            return (data, sender.recv(100)) == (b"hello", b"back")
        except OSError:
            return False


def reaches(source: Guest, target: Guest | None, address: str) -> bool:
    """Whether one of several datagrams gets through and is answered: a new interface may lose the first."""
    return wait_for(lambda: sends(source, target, address))


def wait_for(what: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
