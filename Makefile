# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: help rehearse test quick lab deb kernel bench clean setup
.PHONY: test-code test-image test-machines test-kernel

RELEASE ?= trixie
FIRMWARE ?= uefi
# Thousands of small files, and of fsyncs: in memory they take no time. A container has 64 MiB there.
ROOM = $$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)
IN_MEMORY = $(shell [ "$(ROOM)" -gt 2000000 ] 2>/dev/null && echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
PYTEST = .venv/bin/python -m pytest -n auto --dist loadfile

help:
	@echo "make rehearse   convert a stock VM, boot Xen, verify, revert (RELEASE=bookworm|trixie FIRMWARE=uefi|bios)"
	@echo "make test       everything that CI checks, with the VM runs"
	@echo "make quick      everything but VM runs, in under two minutes"
	@echo "make lab        every scenario; conversion, faults, reverts on Debian 12 and 13, UEFI and BIOS (as root; hours)"
	@echo "make bench      the figures, side by side (as root)"
	@echo "make deb        build dist/xenable_*_all.deb and dist/xen-support_*.deb"
	@echo "make kernel     build the lean kernel from source, and boot it in a VM as dom0 and as a guest (as root)"

setup:
	@tools/setup

rehearse:
	@tools/setup lab
	@debian/build.sh dist >&2
	@/usr/bin/python3 -m lab rehearse --release $(RELEASE) --firmware $(FIRMWARE)

quick: setup
	$(IN_MEMORY) $(PYTEST) --dist worksteal -m "not package and not kernel and not vm"

# Two at a time, so that no processor waits: the image is built beside the tests of the code, and a kernel is
# compiled and booted with what the machines leave.
test: setup
	debian/build.sh dist
	$(MAKE) -j 2 test-code test-image
	$(MAKE) -j 2 test-machines test-kernel

test-code:
	$(PYTEST) -m "not kernel"

test-image:
	/usr/bin/python3 -m lab build >/dev/null

test-machines:
	/usr/bin/python3 -m lab run first-guest no-network

test-kernel:
	nice -n 10 $(PYTEST) -m kernel

lab: setup
	debian/build.sh dist
	/usr/bin/python3 -m lab all

deb: setup
	debian/build.sh dist

kernel: setup
	debian/build.sh dist
	/usr/bin/python3 -m lab run kernel

bench: setup
	debian/build.sh dist
	/usr/bin/python3 -m lab bench

clean:
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
