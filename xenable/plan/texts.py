# SPDX-License-Identifier: GPL-2.0-or-later
"""The texts of the files that a conversion writes."""

from __future__ import annotations

from xenable.datafiles import data_file

MARK = (
    "# Written by Xenable; `xenable revert` takes it away.\n"
    "# Do not edit: settings are in /etc/xenable/xenable.conf.\n"
)


def settings_early() -> str:
    """Sourced by grub-mkconfig before Xen's own xen.cfg, which would make Xen the default at once."""
    return MARK + (
        "# Xen's package must not make itself the default: only a trial boot that passed its gate does.\n"
        "XEN_OVERRIDE_GRUB_DEFAULT=0\n"
    )


def settings_late(arguments: str, native_flavour: str = "") -> str:
    """Sourced after all others: what Xenable asks of the hypervisor, before what the administrator set.

    native_flavour: of the kernels that stay the native default (cloud-amd64), where dom0 needs another.
    """
    text = MARK + f'GRUB_CMDLINE_XEN_DEFAULT="{arguments} ${{GRUB_CMDLINE_XEN_DEFAULT}}"\n'
    if native_flavour:
        text += (
            "# The kernel that came for dom0 must not become the native default.\n"
            f"export XENABLE_NATIVE_FLAVOUR={native_flavour}\n"
        )
    return text


def generator_script() -> str:
    """What /etc/grub.d gets: it runs the generator that the package ships, so that an upgrade renews it.

    Errors: XenableError when the installation lacks it.
    """
    return data_file("grub.d/shim").read_text(encoding="utf-8")
