# SPDX-License-Identifier: GPL-2.0-or-later
"""The way into a guest, without a guest."""

import socket
import threading
from pathlib import Path

import pytest

from lab import ssh, vm
from lab.errors import ScenarioFailed
from lab.ssh import Door, Result


def test_a_connection_of_its_own_uses_no_control_socket(tmp_path: Path) -> None:
    door = Door(4022, Path("/key"), tmp_path)
    kept = ssh.argv(door, "root")
    assert kept[kept.index("-S") + 1] == "ssh-root"
    own = ssh.argv(door, "root", kept=False)
    assert own[own.index("-S") + 1] == "none"
    assert own[-1] == "root@127.0.0.1"


def test_nothing_of_the_callers_ssh_configuration_matters(tmp_path: Path) -> None:
    argv = ssh.argv(Door(4022, Path("/key"), tmp_path), "root")
    assert argv[1:3] == ["-F", "none"]
    assert "UserKnownHostsFile=/dev/null" in argv
    assert "BatchMode=yes" in argv


@pytest.mark.parametrize(
    ("greeting", "expected"), [(b"SSH-2.0-x\r\n", True), (b"", False), (b"HTTP", False)]
)
def test_only_a_greeting_counts_as_an_answer(greeting: bytes, expected: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection = server.accept()[0]
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        assert ssh.answers(server.getsockname()[1]) is expected
        thread.join()


def test_the_transcript_has_command_output_and_code(tmp_path: Path) -> None:
    door = Door(4022, Path("/key"), tmp_path)
    ssh.write_transcript(door, "root", "false", Result("out\n", "err\n", 1), 0.25)
    assert (tmp_path / "ssh.log").read_text() == "root# false\nout\nstderr: err\n[code 1, 0.2 s]\n\n"


def test_a_failing_command_is_the_scenarios_failure() -> None:
    with pytest.raises(ScenarioFailed, match="'false' exited 3 in the guest: why"):
        vm.checked("false", Result("", "why\n", 3))
    with pytest.raises(ScenarioFailed, match="did not answer"):
        vm.checked("true", Result("", "", ssh.UNREACHABLE))


def test_variables_lie_beside_the_disk() -> None:
    assert vm.vars_of(Path("/x/disk.raw")) == Path("/x/disk.vars")
