# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about a machine: one file a subject, each with a probe that reads and judges nothing.

A probe never fails: what can't be read is UNKNOWN, None or empty, as xenable/machine.py says for each field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xenable.host import Host
    from xenable.machine import Facts


def gather(host: Host, *, xen_kernel: bool = False) -> Facts:
    """Everything that can be known about a machine, or about a folder with its files. Changes nothing.

    xen_kernel: what apt would install has the kernel for Xen alone in it, in place of the distribution's.
    """
    from xenable.facts.boot_loader import probe_boot_loader
    from xenable.facts.console import probe_console
    from xenable.facts.conversion import probe_conversion
    from xenable.facts.cpu import probe_cpu
    from xenable.facts.distribution import probe_distribution
    from xenable.facts.dpkg import read_status
    from xenable.facts.files import line
    from xenable.facts.firmware import probe_firmware
    from xenable.facts.kernels import probe_kernels
    from xenable.facts.memory import probe_memory
    from xenable.facts.menu import probe_menu
    from xenable.facts.modules import probe_modules
    from xenable.facts.network import probe_network
    from xenable.facts.other_hypervisors import probe_other_hypervisors
    from xenable.facts.packages import probe_packages
    from xenable.facts.services import probe_services, with_jobs
    from xenable.facts.storage import probe_storage
    from xenable.facts.virtualization import probe_virtualization
    from xenable.machine import Facts

    known = read_status(host)
    distribution = probe_distribution(host)
    firmware = probe_firmware(host)
    storage = probe_storage(host)
    kernels = probe_kernels(host)
    modules = probe_modules(host)
    return Facts(
        distribution=distribution,
        cpu=probe_cpu(host, known),
        virtualization=probe_virtualization(host),
        memory=probe_memory(host),
        firmware=firmware,
        storage=storage,
        boot_loader=probe_boot_loader(host, firmware, storage, known),
        menu=probe_menu(host),
        kernels=kernels,
        packages=probe_packages(
            host, distribution, kernels, known, xen_kernel=xen_kernel, dkms=bool(modules.dkms)
        ),
        modules=modules,
        other_hypervisors=probe_other_hypervisors(host, known),
        network=probe_network(host),
        console=probe_console(host),
        services=with_jobs(host, probe_services(host, known)),
        conversion=probe_conversion(host),
        running_kernel=line(host, "/proc/sys/kernel/osrelease"),
    )
