# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings as options: one option a line of config.OPTIONS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from xenable.config import OPTIONS, Config, load_config
from xenable.host import Host

F = TypeVar("F", bound=Callable[..., Any])


def setting_options(function: F) -> F:
    """Give a command the options of OPTIONS. They arrive as keyword arguments; see config_for."""
    for setting in reversed(OPTIONS):
        function = click.option(
            f"--{setting.key}",
            metavar=setting.metavar,
            help=f"{setting.help} The default is {setting.default}.",
        )(function)
    return click.option("--no-auto-confirm", is_flag=True, help="Short for --auto-confirm no.")(function)


def config_for(host: Host, options: dict[str, Any]) -> Config:
    """The settings of the machine's file, and those of the command line over them.

    Errors: XenableError that names the file and line, or the option; click.UsageError for a contradiction.
    """
    texts = {s.key: options[s.field] for s in OPTIONS if options[s.field] is not None}
    if options["no_auto_confirm"]:
        if texts.get("auto-confirm", "no") != "no":
            raise click.UsageError("--no-auto-confirm and --auto-confirm contradict each other")
        texts["auto-confirm"] = "no"
    return load_config(host, texts)
