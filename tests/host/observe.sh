#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: observe.sh COWLAB
# What is observed is a scenario: it parses, is printed as it was, and holds in the simulator.
set -eu
cowlab=$1
examples=$(dirname "$0")/../../examples
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root, so no frames are seen" && exit 77; }
"$cowlab" host --help >/dev/null || { echo "skipped: built without host" && exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in basic-cow cve-2020-29374 basic-fork-chain basic-mremap-pin file-shared; do
	"$cowlab" host --facts "$examples/$name.cow" >"$scratch/$name.cow"
	"$cowlab" print "$scratch/$name.cow" >"$scratch/again"
	diff "$scratch/$name.cow" "$scratch/again"
	"$cowlab" run "$scratch/$name.cow"
done
grep -q '^C: get r a -> hit$' "$scratch/cve-2020-29374.cow"
grep -q '^peek r == 1$' "$scratch/cve-2020-29374.cow"
grep -q 'mapcount 3' "$scratch/basic-fork-chain.cow"
