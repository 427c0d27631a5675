# SPDX-License-Identifier: GPL-2.0-or-later
"""Run in dom0: how long vif scripts take, as libxl runs them, from their start to `connected` in xenstore.

python3 vif_times.py ROUNDS DEVICE GATEWAY SCRIPT ADDRESSES...; prints {script: [seconds, ...]} as JSON.

The interface is one end of a veth pair that has a vif's name, new each time; what xenstore says of it lies
outside of all that the kernel and libxl watch. The scripts take turns at going first.
"""

import json
import os
import subprocess
import sys
import time

TIMEOUT = 120


def main() -> None:
    rounds, device, gateway, *words = sys.argv[1:]
    addresses = dict(zip(words[::2], words[1::2], strict=True))
    scripts = list(addresses)
    place = "/bench/vif/" + device.removeprefix("vif").replace(".", "/")
    times: dict[str, list[float]] = {script: [] for script in scripts}
    try:
        for number in range(int(rounds)):
            for script in scripts if number % 2 else scripts[::-1]:
                times[script].append(connect(script, device, gateway, addresses[script], place))
    finally:
        run("xenstore-rm", "/bench", check=False)
        run("ip", "link", "del", device, check=False)
    print(json.dumps(times))


def connect(script: str, device: str, gateway: str, address: str, place: str) -> float:
    """One interface from nothing to connected, and away again; returns the seconds of the script."""
    run("ip", "link", "add", device, "type", "veth", "peer", "name", "bench-peer")
    keys = {"ip": address, "mac": "00:16:3e:7f:00:01", "script": script, "handle": "0"}
    run("xenstore-write", *(word for key, value in keys.items() for word in (f"{place}/{key}", value)))
    environment = {
        **os.environ,
        "XENBUS_PATH": place,
        "XENBUS_TYPE": "vif",
        "XENBUS_BASE_PATH": "backend",
        "vif": device,
        "netdev": gateway,
        "script": script,
    }
    began = time.perf_counter()
    run(script, "online", "type_if=vif", env=environment)
    took = time.perf_counter() - began
    status = run("xenstore-read", f"{place}/hotplug-status")
    if status != "connected":
        sys.exit(f"{script} left the status {status!r}")
    run(script, "offline", "type_if=vif", env=environment, check=False)
    run("xenstore-rm", "/bench")
    run("ip", "link", "del", device)
    return took


def run(*cmd: str, check: bool = True, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        cmd,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        timeout=TIMEOUT,
    )
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(cmd)} exited {done.returncode}: {done.stdout}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
