# SPDX-License-Identifier: GPL-2.0-or-later
"""Configures every flavour as a build would, in the namespace that a test made; prints JSON.

Its one argument is the folder that the source goes to.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from xenable.host import Host
from xenable.kernels import configure
from xenable.kernels.archive import extract
from xenable.kernels.config import parse_options
from xenable.kernels.flavours import NAMES, flavour
from xenable.kernels.make import Choice, get_source
from xenable.kernels.packaging import Naming


def main() -> None:
    host, tree = Host(), Path(sys.argv[1])
    archive, _ = get_source(host, Choice(), lambda fraction, text: None)
    extract(host, archive, tree)
    options: dict[str, dict[str, str]] = {}
    for name in NAMES:
        chosen = flavour(name)
        base = configure.base_config(host, chosen, archive.series)
        naming = Naming(upstream=archive.version, revision=1, flavour=name)
        # It proves that all is there that the fragments ask for.
        configure.configure(host, chosen, archive, base, naming, tree)
        options[name] = parse_options(host.text(tree / configure.CONFIG))
    print(json.dumps(options))


if __name__ == "__main__":
    main()
