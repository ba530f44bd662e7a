# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# noop-N: N stages, and nothing changed. And: every source touched, its bytes the same.

noop_cairn() { at "$here/cairn" "$cairn" run pipeline.toml; }
# Printing events rules out the short way: everything is looked up, instance by instance.
noop_json() { at "$here/cairn" "$cairn" run pipeline.toml --json; }
noop_ninja() { at "$here/ninja" ninja; }

# `--frozen` fails if anything would be executed.
noop_touched_before() { find "$here/cairn/in" -type f -exec touch {} +; }
noop_touched() { at "$here/cairn" "$cairn" run pipeline.toml --frozen; }

case_noop() {
  local count=$1 bound=-
  cairn_project "$here/cairn" "$count" auto
  ninja_project "$here/ninja" "$count"
  timed noop_ninja
  # Files written less than two seconds ago are hashed again whatever their times say: the second run remembers them.
  timed noop_cairn
  sleep 3
  timed noop_cairn
  same_files "$here/cairn/in" "$here/cairn/out"
  settle_disk

  interleaved "$runs" noop_cairn noop_ninja noop_json
  # First that the count could be other than 0.
  at "$here/cairn" "$cairn" run pipeline.toml --json --force=s00001 >"$here/forced.json" 2>"$here/stderr" ||
    fail "run --force ended with an error"
  ended_as "$here/forced.json" RAN | grep -qx s00001 || fail "the forced stage is not in the output of --json"
  at "$here/cairn" "$cairn" run pipeline.toml --json >"$here/noop.json" 2>"$here/stderr" || fail "run --json ended with an error"
  case $count in
    1000) bound="< 50 ms" ;;
    10000) bound="<= 3.0" ;;
  esac
  compare "nothing changed" noop_cairn ninja noop_ninja "$bound"
  compare "nothing changed, with --json" noop_json ninja noop_ninja -
  check "stages executed when nothing changed" "$(ended_as "$here/noop.json" RAN | wc -l)"

  interleaved "$runs" noop_touched
  compare "all sources touched: nothing executed" noop_touched - - -
}
