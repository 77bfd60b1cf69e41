#!/usr/bin/env bash
# check-config: what it accepts, and that it names every difference.
set -euo pipefail

check=$PWD/kernel-config/check-config
work=${TEST_TMPDIR:-$(mktemp -d)}
cd "$work"

failures=0
# expect STATUS TEXT ARG...: check-config ARG... exits with STATUS and its output contains TEXT.
expect() {
  local status=$1 text=$2 got=0 output
  shift 2
  output=$("$check" "$@" 2>&1) || got=$?
  if [ "$got" -ne "$status" ] || [[ $output != *"$text"* ]]; then
    echo "FAIL: check-config $*: status $got (expected $status), without '$text': $output"
    failures=$((failures + 1))
  fi
}

cat >built <<'X'
CONFIG_YES=y
CONFIG_NUMBER=32
CONFIG_TEXT="a b=c"
# CONFIG_OFF is not set
X

cat >right <<'X'
# A comment.

CONFIG_YES=y
CONFIG_NUMBER=32
CONFIG_TEXT="a b=c"
# CONFIG_OFF is not set
# CONFIG_NEVER_MENTIONED is not set
X
expect 0 "5 symbols as asked" right built

echo 'CONFIG_DROPPED=y' >dropped
expect 1 "CONFIG_DROPPED: dropped asks for y, the configuration has n" right dropped built
echo '# CONFIG_YES is not set' >unwanted
expect 1 "CONFIG_YES: unwanted asks for n, the configuration has y" unwanted built
printf 'CONFIG_NUMBER=64\nCONFIG_OFF=y\n' >two
expect 1 "2 of 2 symbols differ" two built
expect 1 "CONFIG_NUMBER: two asks for 64, the configuration has 32" two built
# The symbol whose name is the beginning of another is not that other.
echo 'CONFIG_YE=y' >prefix
expect 1 "CONFIG_YE: " prefix built

# A later fragment overrides an earlier one.
echo 'CONFIG_NUMBER=32' >override
expect 1 "CONFIG_OFF" two override built
printf '# CONFIG_OFF is not set\n' >>override
expect 0 "2 symbols as asked" two override built

# Mistakes that would otherwise pass for comments.
echo 'CONFIG_YES = y' >spaces
expect 64 "spaces:1: not a symbol" spaces built
echo '# CONFIG_OFF is not set.' >trailing
expect 64 "trailing:1: not a symbol" trailing built
echo '# nothing' >empty
expect 64 "ask for nothing" empty built

expect 64 "usage" built
expect 64 "cannot read" right missing

[ "$failures" -eq 0 ] && echo "check-config: all as expected"
