# SPDX-License-Identifier: GPL-2.0-or-later
"""A recipe's name changes with everything that goes into the image."""

import itertools
from pathlib import Path

import pytest

from lab import recipe
from lab.recipe import Filesystem, Firmware, Kernel, Recipe, Release


def test_every_recipe_has_a_name_of_its_own() -> None:
    recipes = [Recipe(*parts) for parts in itertools.product(Release, Firmware, Kernel, Filesystem)]
    names = {recipe.image_name(one, "key") for one in recipes}
    assert len(names) == len(recipes) == 16


def test_the_name_says_what_it_is() -> None:
    assert recipe.image_name(Recipe(), "key").startswith("trixie-uefi-generic-ext4-")
    assert recipe.image_name(Recipe(), "key").endswith(".raw")


def test_another_key_is_another_image() -> None:
    assert recipe.recipe_hash(Recipe(), "one") != recipe.recipe_hash(Recipe(), "two")


def test_the_same_recipe_is_the_same_image() -> None:
    assert recipe.recipe_hash(Recipe(), "one") == recipe.recipe_hash(Recipe(), "one")


@pytest.mark.parametrize("name", ["customize.sh", "seed.sh"])
def test_a_changed_script_is_another_image(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = recipe.recipe_hash(Recipe(), "key")
    for script in recipe.GUEST.glob("*.sh"):
        (tmp_path / script.name).write_text(
            script.read_text() + ("# changed\n" if script.name == name else "")
        )
    monkeypatch.setattr(recipe, "GUEST", tmp_path)
    assert recipe.recipe_hash(Recipe(), "key") != before


def test_changed_packages_are_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.recipe_hash(Recipe(), "key")
    monkeypatch.setattr(recipe, "PACKAGES", (*recipe.PACKAGES, "hello"))
    assert recipe.recipe_hash(Recipe(), "key") != before


def test_boot_loaders_do_not_mix() -> None:
    assert "grub-pc" not in recipe.packages(Recipe(firmware=Firmware.UEFI))
    assert not [name for name in recipe.packages(Recipe(firmware=Firmware.BIOS)) if "efi" in name]


def test_tools_of_the_file_system_are_there() -> None:
    assert "btrfs-progs" in recipe.packages(Recipe(filesystem=Filesystem.BTRFS))
    assert "btrfs-progs" not in recipe.packages(Recipe())


def test_partitions_follow_each_other() -> None:
    assert recipe.BIOS_BOOT[1] + 1 == recipe.ESP[0]
    assert recipe.ESP[1] + 1 == recipe.ROOT_START
    assert recipe.ROOT_START % 2048 == 0
