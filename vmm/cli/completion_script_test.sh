#!/bin/bash
# The script of `hull completion bash`, in a bash, as readline would call it.
set -uo pipefail

HULL=$PWD/vmm/cli/hull
export HULL_ROOT=$TEST_TMPDIR/root HULL_RUN=$TEST_TMPDIR/run HULL_EMULATED_HOST=never
mkdir -p "$HULL_ROOT/volumes" "$TEST_TMPDIR/files/a directory"
truncate -s 1M "$HULL_ROOT/volumes/data.ext4" "$HULL_ROOT/volumes/cache.ext4"
cd "$TEST_TMPDIR/files" || exit 1
failures=0

# expect WANTED WORD...: the candidates, joined by commas, for the last of the words.
expect() {
  local wanted=$1 got
  shift
  COMP_WORDS=("$HULL" "$@")
  COMP_CWORD=$#
  _hull
  got=$(IFS=, && echo "${COMPREPLY[*]-}")
  if [[ $got != "$wanted" ]]; then
    echo "after hull $*: got \"$got\", wanted \"$wanted\""
    failures=$((failures + 1))
  fi
}

# shellcheck source=/dev/null
. <("$HULL" completion bash) || exit 1
[[ $(complete -p hull) == "complete -F _hull hull" ]] || { echo "not installed"; exit 1; }

expect start,stats,stop st
expect bash,zsh completion ""
expect create,exists,inspect,ls,prune,rm volume ""
expect prune container pru
expect info,prune system ""
expect shell,start,status,stop host ""
expect "" host start ""
expect --mount run --mo
expect --memory run --rm -v data:/d --mem
expect --all container stop --al
expect "" nosuch -
expect "" monitor -
expect cache,data volume rm ""
expect data volume inspect d
expect cache:,data: run -v ""
# As bash splits --volume=da, -v da:/ and --volume=.
expect data: run --volume = da
expect "" run -v data : /
expect cache:,data: run --volume =
expect "a directory" load ""
expect "a directory" run --env-file a
expect "" stop ""
expect "" run ""

# Every verb that is offered has its flags, but for groups and those that take nothing.
for verb in $("$HULL" __complete ""); do
  case $verb in
    completion | container | help | host | image | system | version | volume) continue ;;
  esac
  expect --help "$verb" --hel
done

[[ ! -e $HULL_RUN && ! -e $HULL_ROOT/containers ]] || { echo "asking left something"; exit 1; }
"$HULL" completion zsh | grep -q '^autoload -U +X bashcompinit' || exit 1
[[ -z $("$HULL" __complete 2>&1) ]] || { echo "no words: not silent"; exit 1; }
HULL_ROOT=relative HULL_EMULATED_HOST=nonsense "$HULL" __complete stop "" >"$TEST_TMPDIR/out" 2>&1 ||
  { echo "a bad environment: a failure"; exit 1; }
[[ ! -s $TEST_TMPDIR/out ]] || { echo "a bad environment: not silent"; exit 1; }
if command -v zsh >/dev/null; then
  "$HULL" completion zsh >"$TEST_TMPDIR/zsh" && zsh -n "$TEST_TMPDIR/zsh" || exit 1
else
  echo "no zsh here: its script was not run"
fi
exit $((failures > 0))
