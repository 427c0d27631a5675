# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of the figures, and the parts that it is made of."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import __main__ as main
from lab import bench, bench_guests, bench_vif
from lab.bench import Figure
from lab.errors import LabError, ScenarioFailed
from lab.machines import Lab
from lab.recipe import GUEST
from tests.contract.sandbox import inside, needs_sandbox

FAST = Figure("a later guest, 4 GB", (100.0,), (3.0, 1.0, 2.0), most_ratio=0.05)


def test_a_figure_is_of_medians() -> None:
    assert FAST.ratio == 0.02
    assert " ".join(FAST.line().split()) == "a later guest, 4 GB 100.00 s 2.00 s 0.020 <= 0.05"


@pytest.mark.parametrize(
    ("most_ratio", "most", "told"),
    [
        (None, None, ""),
        (0.5, None, "<= 0.5"),
        (0.4, None, "<= 0.4 MISSED"),
        (None, 1.0, "<= 1 s"),
        (None, 0.15, "<= 0.15 s MISSED"),
    ],
    ids=["none", "ratio", "ratio missed", "seconds", "seconds missed"],
)
def test_a_goal_that_is_missed_is_told(most_ratio: float | None, most: float | None, told: str) -> None:
    figure = Figure("x", (2.0,), (1.0,), most_ratio, most)
    assert figure.line().rpartition("0.500")[2].strip() == told
    assert figure.missed == told.endswith("MISSED")


def test_the_table_and_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Figure("another", (1.0,), (1.0,))
    assert bench.run(Lab(tmp_path), [lambda lab: (FAST,), lambda lab: (other,)]) == (FAST, other)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["medians", "a", "another"]
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert [row["ratio"] for row in rows] == [0.02, 1.0] and rows[0]["ours"] == [3.0, 1.0, 2.0]


def test_a_part_that_breaks_leaves_the_figures_before_it(tmp_path: Path) -> None:
    def broken(lab: Lab) -> tuple[Figure, ...]:
        raise ScenarioFailed("no")

    with pytest.raises(ScenarioFailed):
        bench.run(Lab(tmp_path), [lambda lab: (FAST,), broken])
    assert [row["name"] for row in json.loads((tmp_path / "bench.json").read_text())] == [FAST.name]


@pytest.mark.parametrize(
    ("words", "parts"),
    [([], ["commands", "conversion", "guests", "vif", "kernel"]), (["guests"], ["guests"])],
    ids=["all", "one"],
)
def test_parts_by_name(
    words: list[str], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XENABLE_LAB_CACHE", str(tmp_path))
    monkeypatch.delenv("XENABLE_LAB_RUNS", raising=False)
    asked: list[bench.Part] = []
    found: list[Figure] = [FAST]

    def run(lab: Lab, chosen: list[bench.Part]) -> tuple[Figure, ...]:
        asked[:] = chosen
        return tuple(found)

    monkeypatch.setattr(bench, "run", run)
    assert main.main(["bench", *words]) == main.PASSED
    found.append(Figure("slow", (1.0,), (2.0,), most_ratio=1.0))
    assert main.main(["bench", *words]) == main.FAILED
    assert asked == [main.BENCHES[name] for name in parts]


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["bench", "gests"])
    assert "gests" in capsys.readouterr().err


def test_no_word_is_left_in_a_command() -> None:
    words = {"release": "trixie", "size": "4G", "mirror": "http://mirror.example.org/debian"}
    assert "'Codename: trixie'" in bench_guests.fill(bench_guests.FIND_MIRROR, release="trixie")
    for text in (bench_guests.THEIRS, bench_guests.OURS, bench_guests.OUR_DISK):
        assert not re.findall(r"\b(RELEASE|SIZE|MIRROR)\b", bench_guests.fill(text, **words))
    assert "mount -o ro,loop /a/b /mnt" in bench_guests.fill(bench_guests.INSIDE, disk="/a/b")


@pytest.mark.realtool
@pytest.mark.parametrize("text", [bench_guests.THEIRS, bench_guests.OURS, bench_guests.INSIDE])
def test_commands_are_shell(text: str) -> None:
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.realtool
@needs_sandbox
def test_both_work_in_folders_of_the_bench(tmp_path: Path) -> None:
    def work() -> None:
        for folder in bench_guests.PRIVATE:
            (tmp_path / folder.lstrip("/")).mkdir(parents=True)
        command = "echo one >/etc/xen/bench.cfg && ls /var/lib/xenable /etc/xen"
        said = bench_guests.inside(tmp_path, command).split()
        assert said == ["/etc/xen:", "bench.cfg", "/var/lib/xenable:"]
        assert (tmp_path / "etc/xen/bench.cfg").read_text() == "one\n"
        assert not Path("/etc/xen/bench.cfg").exists()
        with pytest.raises(LabError, match="exited 3"):
            bench_guests.inside(tmp_path, "exit 3")

    # It makes the folders where there are none, and other sandboxes would see that.
    inside(work)


def test_the_figure_of_the_vif_scripts() -> None:
    route, ours = bench_vif.VIF_SCRIPTS
    rounds = bench_vif.VIF_ROUNDS
    figure = bench_vif.vif_figure(json.dumps({ours: [0.1] * rounds, route: [0.4] * rounds}))
    assert figure.ratio == pytest.approx(0.25)
    with pytest.raises(ScenarioFailed, match="not all interfaces"):
        bench_vif.vif_figure(json.dumps({ours: [0.1] * rounds, route: [0.4]}))


@pytest.mark.realtool
def test_vif_times_measures_both(tmp_path: Path) -> None:
    """With stand-ins for Xen's and the kernel's tools."""
    store = tmp_path / "store"
    tools = {
        "xenstore-write": 'while [ $# -gt 0 ]; do printf "%s %s\\n" "$1" "$2" >>STORE; shift 2; done',
        "xenstore-read": 'sed -n "s,^$1 ,,p" STORE | tail -n 1',
        "xenstore-rm": "rm -f STORE",
        "ip": 'echo "ip $*" >>LOG',
        "slow": 'echo "$*" >>LOG; [ "$1" = offline ] || { sleep 0.2; mark; }',
        "fast": 'echo "$*" >>LOG; [ "$1" = offline ] || mark',
        "bad": "exit 3",
        "mute": "exit 0",
        "mark": '[ "$vif $netdev" = "vif250.0 xenable0" ] && '
        'grep -q "/ip 172.20.216.250 fd12::fa" STORE && xenstore-write "$XENBUS_PATH/hotplug-status" '
        "connected",
    }
    for name, text in tools.items():
        script = tmp_path / name
        text = text.replace("STORE", str(store)).replace("LOG", str(tmp_path / "log"))
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)

    def measure(*scripts: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(GUEST / "vif_times.py"), "3", "vif250.0", "xenable0"]
            + [word for name in scripts for word in (str(tmp_path / name), "172.20.216.250 fd12::fa")],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            check=False,
            capture_output=True,
            text=True,
        )

    done = measure("slow", "fast")
    assert done.returncode == 0, done.stderr
    slow, fast = json.loads(done.stdout).values()
    assert len(slow) == len(fast) == 3 and min(slow) >= 0.2 > min(fast) and not store.exists()
    log = (tmp_path / "log").read_text()
    assert log.count("online type_if=vif") == log.count("offline type_if=vif") == 6
    assert log.count("ip link add vif250.0 type veth") == 6
    assert "exited 3" in measure("bad").stderr and "left the status ''" in measure("mute").stderr
