# SPDX-License-Identifier: GPL-2.0-or-later
# The part of python-apt's C module for archives that Xenable uses.

from collections.abc import Callable

class TarMember:
    name: str

class TarFile:
    def go(self, callback: Callable[[TarMember, bytes], object]) -> bool: ...
    def extractdata(self, member: str) -> bytes: ...

class DebFile:
    def __init__(self, file: str) -> None: ...
    @property
    def control(self) -> TarFile: ...
    @property
    def data(self) -> TarFile: ...
