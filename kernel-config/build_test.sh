#!/usr/bin/env bash
# The build script: what it refuses, before it touches anything.
set -euo pipefail

build=$PWD/kernel-config/build
work=${TEST_TMPDIR:-$(mktemp -d)}
cd "$work"

failures=0
expect() {
  local status=$1 text=$2 got=0 output
  shift 2
  output=$("$build" "$@" 2>&1) || got=$?
  if [ "$got" -ne "$status" ] || [[ $output != *"$text"* ]]; then
    echo "FAIL: build $*: status $got (expected $status), without '$text': $output"
    failures=$((failures + 1))
  fi
}

expect 64 "--out DIR is required"
expect 64 "--out needs a value" --out
expect 64 "unknown argument --fast" --out x --fast
expect 64 "--jobs must be a number" --out x --jobs 0
expect 64 "--jobs must be a number" --out x --jobs 2x
expect 0 "usage:" --help

[ "$failures" -eq 0 ] && echo "build: all as expected"
