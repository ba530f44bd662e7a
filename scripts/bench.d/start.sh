# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# start: what the shortest commands take. Beside them `true`, which shows how much of it is the start of any process.

start_version() { at "$here" "$cairn" --version; }
start_true() { at "$here" "$(type -P true)"; }
start_plan_first() { at "$here/first" "$cairn" plan pipeline.toml; }
start_plan_first_before() { rm -rf "$here/first/.cairn"; }
start_plan_done() { at "$here/done" "$cairn" plan pipeline.toml; }
start_chain() { at "$here/done" "$cairn" run pipeline.toml; }

case_start() {
  chain_project "$here/first"
  chain_project "$here/done"
  timed start_chain
  interleaved $((runs * 4)) start_version start_true start_plan_first start_plan_done
  compare "cairn --version" start_version true start_true "< 10 ms"
  compare "cairn plan, 5 stages never run" start_plan_first true start_true "< 50 ms"
  compare "cairn plan, 5 stages done" start_plan_done true start_true "< 50 ms"
}
