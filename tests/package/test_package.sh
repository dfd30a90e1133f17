#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_package.sh STEP DIR SOURCE: uses the package installed in DIR/prefix as a stranger would.
# Everything is built from copies under DIR, with nothing but the prefix to find the library by.
# The environment may say CC, CXX, NM, LIBDIR (lib) and LOCALIZED (OFF: a plain static library).
set -eu
step=$1 dir=$2 source=$3
prefix=$dir/prefix
libdir=$prefix/${LIBDIR:-lib}
work=$dir/$step
scenario=$source/examples/cve-2020-29374.cow
cc=${CC:-cc}

skip() {
	echo "skipped: $1"
	exit 77
}

# Runs an example, which proves its result by its exit code, and wants a verdict in what it prints.
run() {
	if ! "$@" "$scenario" >"$work/out" || ! grep -q verdict "$work/out"; then
		cat "$work/out"
		echo "$*: exit code not 0, or no verdict"
		exit 1
	fi
}

# Everything that nm lists on standard input must be cow_*, and something must be there.
only_cow() {
	awk -v library="$1" '
		NF < 2 || /:$/ { next }
		{ found++ }
		$NF !~ /^cow_[a-z0-9_]*[a-z0-9]$/ { print library ": exports " $NF; bad = 1 }
		END { print library ": " found + 0 " symbols"; exit bad || !found }'
}

rm -rf "$work"
mkdir -p "$work"

case $step in
find-package)
	cp "$source/examples/run_scenario.c" "$source/tests/package/CMakeLists.txt" "$work"
	cmake -S "$work" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc"
	cmake --build "$work/build"
	run "$work/build/with_shared"
	run "$work/build/with_static"
	;;
pkg-config)
	command -v pkg-config >/dev/null || skip "no pkg-config"
	cp "$source/examples/run_scenario.c" "$work"
	cd "$work"
	export PKG_CONFIG_PATH="$libdir/pkgconfig"
	[ "$(pkg-config --modversion cowlab)" = "$("$prefix/bin/cowlab" --version | sed 's/^[^0-9]*//')" ]
	# shellcheck disable=SC2046 # words are meant to be split
	"$cc" -o shared run_scenario.c $(pkg-config --cflags --libs cowlab)
	# shellcheck disable=SC2046
	"$cc" -o static run_scenario.c $(pkg-config --cflags cowlab) \
		"$(pkg-config --variable=libdir cowlab)/libcowlab.a"
	run env LD_LIBRARY_PATH="$libdir" ./shared
	run ./static
	;;
cxx)
	cxx=${CXX:-c++}
	command -v "$cxx" >/dev/null || skip "no C++ compiler"
	for standard in c++11 c++17; do
		"$cxx" -std=$standard -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" \
			"$source/tests/package/include.cpp" -o "$work/$standard" "$libdir/libcowlab.a"
		"$work/$standard"
	done
	;;
symbols)
	nm=${NM:-nm}
	"$nm" -D --defined-only "$libdir/libcowlab.so" | only_cow libcowlab.so
	[ "${LOCALIZED:-ON}" = ON ] || skip "no objcopy: the static library keeps its hidden symbols"
	"$nm" -g --defined-only "$libdir/libcowlab.a" | only_cow libcowlab.a
	"$nm" -D --defined-only "$libdir/libcowlab.so" | awk '{ print $NF }' | sort >"$work/shared"
	"$nm" -g --defined-only "$libdir/libcowlab.a" | awk 'NF >= 3 { print $NF }' | sort >"$work/static"
	diff "$work/shared" "$work/static"
	;;
*)
	echo "no step $step"
	exit 1
	;;
esac
