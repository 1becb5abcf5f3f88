#!/bin/sh
# Ends with one line if a program is missing: require.sh PROGRAM PACKAGE [PROGRAM PACKAGE]...
while [ $# -gt 1 ]; do
  command -v "$1" >/dev/null || {
    echo "vireo: Cannot run $1: no folder of PATH has it; $1 is in Debian's package $2" >&2
    exit 1
  }
  shift 2
done
