# SPDX-License-Identifier: GPL-2.0-or-later
"""Fragments, and the proof that a kernel has what they ask for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.boot.deadman import SHOWN
from xenable.facts.kernels import NEEDED_OPTIONS
from xenable.kernels.config import (
    OFF,
    for_series,
    merge,
    naming,
    parse_options,
    unmet,
    with_default_mitigations,
)
from xenable.kernels.flavours import NAMES, Base, flavour

TOP = Path(__file__).resolve().parents[3]
FRAGMENTS = sorted((TOP / "kernel/config").glob("*.config"))
SERIES = ((6, 1), (6, 12))

NAME = st.from_regex(r"CONFIG_[A-Z0-9_]{1,12}", fullmatch=True)
VALUE = st.sampled_from(["y", "m", OFF, "17", '"text with # and ="'])


@pytest.mark.parametrize(("series", "value"), [((6, 1), OFF), ((6, 6), OFF), ((6, 12), "y"), ((6, 18), "y")])
def test_dom0_keeps_its_virtio_devices(series: tuple[int, int], value: str) -> None:
    """A boot of lean 6.1 in the lab ended without disk and network: xen_dt_get_node of Linux before 6.12."""
    text = (TOP / "kernel/config/xen.config").read_text(encoding="utf-8")
    assert parse_options(for_series(text, series))["CONFIG_XEN_VIRTIO"] == value


def test_values() -> None:
    text = (
        '# a comment\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="x y"\nCONFIG_E=\nCONFIG_A=m\n'
    )
    assert parse_options(text) == {
        "CONFIG_A": "m",
        "CONFIG_B": "m",
        "CONFIG_C": OFF,
        "CONFIG_D": '"x y"',
        "CONFIG_E": "",
    }


@given(st.dictionaries(NAME, VALUE))
def test_what_is_written_is_read(options: dict[str, str]) -> None:
    text = "".join(
        f"# {name} is not set\n" if value == OFF else f"{name}={value}\n" for name, value in options.items()
    )
    assert parse_options(text) == options
    assert unmet(options, text) == ()
    assert parse_options(for_series(text, (6, 1))) == options


@given(st.dictionaries(NAME, VALUE), st.dictionaries(NAME, VALUE))
def test_everything_that_differs_is_named_and_nothing_else(
    asked: dict[str, str], got: dict[str, str]
) -> None:
    text = "".join(f"{name}={value}\n" for name, value in got.items())
    wrong = {name for name, value in asked.items() if got.get(name, OFF) != value}
    assert {found.option for found in unmet(asked, text)} == wrong


def test_what_is_missing_is_told_from_what_is_another_way() -> None:
    first, second = unmet({"CONFIG_A": "m", "CONFIG_B": "y", "CONFIG_C": OFF}, "CONFIG_B=m\n")
    assert str(first) == "CONFIG_A=m (is not there)"
    assert str(second) == "CONFIG_B=y (is m)"


def test_options_of_some_series_only() -> None:
    text = "CONFIG_OLD=y # until 6.8\nCONFIG_NEW=y # since 6.9\nCONFIG_BOTH=y\n"
    assert set(parse_options(for_series(text, (6, 8)))) == {"CONFIG_OLD", "CONFIG_BOTH"}
    assert set(parse_options(for_series(text, (6, 9)))) == {"CONFIG_NEW", "CONFIG_BOTH"}
    assert set(parse_options(for_series(text, (6, 12)))) == {"CONFIG_NEW", "CONFIG_BOTH"}
    assert set(parse_options(for_series(text, (5, 19)))) == {"CONFIG_OLD", "CONFIG_BOTH"}


@pytest.mark.parametrize(
    "line", ["CONFIG_A", "CONFIG_A = y", "config_a=y", "CONFIG_A=y # since now", "# CONFIG_A is not", "what"]
)
def test_lines_that_are_no_options(line: str) -> None:
    with pytest.raises(ValueError):
        for_series(line, (6, 1))


def test_fragments_that_contradict_each_other() -> None:
    assert merge({"one": "CONFIG_A=y\n", "two": "CONFIG_A=y\nCONFIG_B=m\n"}) == {
        "CONFIG_A": "y",
        "CONFIG_B": "m",
    }
    with pytest.raises(ValueError, match="CONFIG_A is y in one and m in two"):
        merge({"one": "CONFIG_A=y\n", "two": "CONFIG_A=m\n"})


def test_mitigations_that_nobody_chose_have_their_default() -> None:
    text = "# CONFIG_MITIGATION_X is not set\nCONFIG_MITIGATION_Y=y\n# CONFIG_Z is not set\n"
    assert with_default_mitigations(text) == "CONFIG_MITIGATION_Y=y\n# CONFIG_Z is not set\n"


def test_naming() -> None:
    assert 'CONFIG_LOCALVERSION="-1-xen-lean"\n' in naming("-1-xen-lean")
    with pytest.raises(ValueError):
        naming('-1"\nCONFIG_X=y')


# ------------------------------------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("path", [*FRAGMENTS, TOP / "tests/kernel/tiny.config"], ids=lambda path: path.name)
def test_every_line_of_a_fragment_is_understood_and_there_once(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for series in SERIES:
        options = re.findall(r"(?m)^(?:# )?(CONFIG_\w+)", for_series(text, series))
        assert len(options) == len(set(options)), sorted(o for o in set(options) if options.count(o) > 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("series", SERIES)
def test_a_flavour_asks_for_all_that_a_dom0_needs(name: str, series: tuple[int, int]) -> None:
    chosen = flavour(name)
    asked = merge({file: for_series(text, series) for file, text in chosen.fragments.items()})
    assert all(
        asked.get(option) in ("y", "m")
        for option in (*NEEDED_OPTIONS, "CONFIG_XEN_DOM0", "CONFIG_XEN_WDT", SHOWN)
    )
    assert asked["CONFIG_KERNEL_GZIP"] == "y" and asked["CONFIG_DEBUG_INFO_NONE"] == "y"
    assert all(len(line) < 80 for line in chosen.about.splitlines())
    if chosen.base is Base.NOTHING:
        assert asked["CONFIG_64BIT"] == "y" and "CONFIG_MODULE_SIG" not in asked


NFT_WORDS = {
    r"table inet": ("NF_TABLES_INET",),
    r"table netdev": ("NF_TABLES_NETDEV",),
    r"table bridge": ("NF_TABLES_BRIDGE",),
    r"table arp": ("NF_TABLES_ARP",),
    r"hook ingress": ("NETFILTER_INGRESS",),
    r"hook egress": ("NETFILTER_EGRESS",),
    r"type nat hook": ("NFT_NAT",),
    r"ct": ("NFT_CT", "NF_CONNTRACK"),
    r"ct count": ("NFT_CONNLIMIT",),
    r"masquerade": ("NFT_MASQ",),
    r"[sd]nat": ("NFT_NAT",),
    r"redirect to": ("NFT_REDIR",),
    r"(?:counter|quota|limit|ct helper|synproxy) name": ("NFT_OBJREF",),
    r"limit rate": ("NFT_LIMIT",),
    r"log (?:prefix|group|level)": ("NFT_LOG",),
    r"quota": ("NFT_QUOTA",),
    r"reject": ("NFT_REJECT",),
    r"fib": ("NFT_FIB_INET",),
    r"(?:jhash|symhash)": ("NFT_HASH",),
    r"numgen": ("NFT_NUMGEN",),
    r"socket": ("NFT_SOCKET",),
    r"tproxy": ("NFT_TPROXY",),
    r"dup to": ("NFT_DUP_NETDEV",),
    r"fwd to": ("NFT_FWD_NETDEV",),
    r"flow add": ("NFT_FLOW_OFFLOAD",),
    r"queue (?:num|to)": ("NFT_QUEUE",),
    r"synproxy": ("NFT_SYNPROXY",),
    r"osf": ("NFT_OSF",),
    r"ipsec": ("NFT_XFRM",),
}
"""Words of nft that are options of their own in the kernel; all others are in nf_tables itself."""

BUILT_IN_SINCE = {"NFT_OBJREF": (6, 2)}


@pytest.mark.parametrize("series", SERIES)
def test_every_flavour_has_what_the_guest_network_uses(series: tuple[int, int]) -> None:
    names = ("table.nft", "nat.nft", "vif-xenable", "network")
    lines = [
        line
        for name in names
        for line in (TOP / "data/network" / name).read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    ]
    rules = "\n".join(lines)
    found = {word for word in NFT_WORDS if re.search(rf"(?<![\w-]){word}(?![\w-])", rules)}
    assert {"table netdev", "hook ingress", "masquerade", "ct"} <= found, "the rules are read wrongly"
    used = {option for word in found for option in NFT_WORDS[word]}
    assert "NFT_OBJREF" in used
    used -= {option for option, since in BUILT_IN_SINCE.items() if series >= since}
    # What they ask of ip, and of /proc and /sys.
    for words, option in (
        ("type dummy", "DUMMY"),
        ("/sys/class/net", "SYSFS"),
        ("/proc/sys/", "PROC_SYSCTL"),
    ):
        assert words in rules
        used.add(option)
    asked = parse_options(for_series((TOP / "kernel/config/xen.config").read_text(encoding="utf-8"), series))
    lacking = {option for option in used if asked.get(f"CONFIG_{option}") not in ("y", "m")}
    assert not lacking, f"xen.config does not ask for {sorted(lacking)}"
