# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ways in which a lab run ends badly."""


class LabError(Exception):
    """The lab itself broke (a host tool, QEMU, the disk): says nothing about the software under test."""


class ScenarioFailed(Exception):
    """The test says no: the machine did not do what the scenario demands."""
