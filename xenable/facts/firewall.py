# SPDX-License-Identifier: GPL-2.0-or-later
"""Firewalls that are active, and what becomes of a packet that is only passing through."""

from __future__ import annotations

import json
import re
from typing import Any

from xenable.host import Host

CGROUP = "/sys/fs/cgroup/system.slice"
"""Has a folder for each service of systemd that runs."""

IPTABLES_TABLES = frozenset(("filter", "nat", "mangle", "raw", "security"))
OWN_TABLES = re.compile(r"(xenable|ufw|firewalld|docker|libvirt|lxd|incus).*")
"""Tables of programs that are named themselves, or that guard only their own bridges."""


def probe_firewalls(host: Host) -> tuple[tuple[str, ...], str]:
    """Names of active firewalls, and the forward policy: accept, drop, or empty when unknown."""
    active = []
    if re.search(r"^\s*ENABLED=[\"']?yes", host.text("/etc/ufw/ufw.conf"), re.MULTILINE | re.IGNORECASE):
        active.append("ufw")
    if host.is_dir(f"{CGROUP}/firewalld.service"):
        active.append("firewalld")
    if host.is_dir(f"{CGROUP}/docker.service") or host.exists("/sys/class/net/docker0"):
        active.append("docker")
    chains = _chains(host)
    legacy = host.text("/proc/net/ip_tables_names").split()
    policies = [
        str(chain.get("policy", "accept")) for chain in chains or () if chain.get("hook") == "forward"
    ]
    tables = {
        (str(chain.get("family")), str(chain.get("table"))) for chain in chains or () if chain.get("hook")
    }
    by_iptables = {
        (family, table) for family, table in tables if family in ("ip", "ip6") and table in IPTABLES_TABLES
    }
    if any(not OWN_TABLES.fullmatch(table) for _, table in tables - by_iptables):
        active.append("nftables")
    if by_iptables or legacy:
        active.append("iptables")
    if "filter" in legacy and host.live:
        rules = host.run(("iptables-legacy", "-S", "FORWARD"), check=False, timeout=10).stdout
        policies.append(parse_policy(rules))
        chains = chains or []
    if chains is None:
        return tuple(active), ""
    return tuple(active), _policy(policies)


def parse_chains(text: str) -> list[dict[str, Any]] | None:
    """Chains in the JSON of `nft -j list chains`; None when it is none."""
    try:
        rows = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(rows, list):
        return None
    return [row["chain"] for row in rows if isinstance(row, dict) and isinstance(row.get("chain"), dict)]


def parse_policy(rules: str) -> str:
    """Policy in the output of `iptables -S CHAIN`, in small letters; empty when it is not there."""
    found = re.search(r"^-P \S+ (\S+)", rules, re.MULTILINE)
    return found[1].lower() if found else ""


def _policy(policies: list[str]) -> str:
    # A packet has to pass every chain: one that drops decides.
    if "drop" in policies or "reject" in policies:
        return "drop"
    return "" if "" in policies else "accept"


def _chains(host: Host) -> list[dict[str, Any]] | None:
    if not host.live:
        return None
    if not host.exists("/sys/module/nf_tables"):
        # Without the module there can be no rules (it may be built in, then it has a folder as well).
        return []
    result = host.run(("nft", "-j", "list", "chains"), check=False, timeout=10)
    return parse_chains(result.stdout) if result.code == 0 else None
