#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Build the packages into a folder (dist/ by default), in a copy: the checkout stays as it is.
set -eu

# The package is made for, and by, the Python of the distribution.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

out=${1:-dist}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

mkdir "$work/xenable"
tar -c --exclude=__pycache__ --exclude='*.egg-info' xenable data debian docs kernel pyproject.toml NEWS.md |
    tar -x -C "$work/xenable"
# dpkg takes the time stamps of the files from the changelog: the same source gives the same bytes.
unset SOURCE_DATE_EPOCH
# make takes orders from its environment: this may be run by another one.
unset MAKEFLAGS MFLAGS MAKELEVEL
# -d: what it needs is installed by tools/setup. The compiler that Debian counts on everywhere is not needed.
if ! (cd "$work/xenable" && dpkg-buildpackage -d -us -uc -b) > "$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
fi
rm -f "$out"/xenable_*_all.deb "$out"/xen-support_*.deb
cp "$work"/xenable_*_all.deb "$work"/xen-support_*.deb "$out"
ls "$out"/xenable_*_all.deb "$out"/xen-support_*.deb
