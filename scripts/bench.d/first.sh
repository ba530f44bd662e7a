# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# first-N: N stages that each write a small file, two at a time, with nothing known before.

first_make() { at "$here/make" make --silent --no-builtin-rules --no-builtin-variables -j2; }
first_off() { at "$here/off" "$cairn" run pipeline.toml -j 2; }
first_private() { at "$here/private" "$cairn" run pipeline.toml -j 2; }
first_make_before() { forget "$here/make" && settle_disk; }
first_off_before() { forget "$here/off" && settle_disk; }
first_private_before() { forget "$here/private" && settle_disk; }

first_measured() {
  local count=$1 folder
  make_project "$here/make" "$count"
  cairn_project "$here/off" "$count" off
  cairn_project "$here/private" "$count" private
  interleaved "$(rounds_for "$count")" first_make first_off first_private
  for folder in make off private; do
    same_files "$here/$folder/in" "$here/$folder/out"
  done
}

# cost_a_stage SAMPLES COUNT: the median in microseconds of one stage of COUNT.
cost_a_stage() { echo "$(($(median_of "$1") / $2))"; }

case_first() {
  local count=$1 bound_off=- bound_private=- small=$work/samples/first-1000 level large_us small_us
  first_measured "$count"
  if ((count == 1000)); then bound_off="<= 1.5" bound_private="<= 2.2"; fi
  compare "first run, sandbox off" first_off "make -j2" first_make "$bound_off"
  compare "first run, sandbox private" first_private "make -j2" first_make "$bound_private"
  ((count > 1000)) || return 0

  if [[ ! -s $small/first_private ]]; then
    say "  first-1000, to compare the cost of a stage"
    small=$samples/small
    mkdir "$small"
    rm -rf "$here/make" "$here/off" "$here/private"
    samples=$small first_measured 1000
  fi
  for level in off private; do
    large_us=$(cost_a_stage "$samples/first_$level" "$count")
    small_us=$(cost_a_stage "$small/first_$level" 1000)
    row "cost of a stage, sandbox $level" "$large_us us" "at 1000: $small_us us" "$(quotient "$large_us" "$small_us")" \
      "<= 1.5" "$(verdict "$large_us" "$(scaled "$small_us" 1.5)")"
  done
}
