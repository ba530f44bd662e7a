# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# memory-N: the most memory in use (resident set) in a run of N stages: cairn's own process and, beside it, its keeper. The
# commands of the stages are not in it.

# The most that the keeper has had so far, in KiB; 0 while there is none.
keeper_now_kib() {
  local link key value words most=0
  while IFS= read -r link; do
    # One that has ended since is passed over. A child between fork and exec still bears its parent's words.
    { mapfile -d '' words <"${link%exe}cmdline"; } 2>/dev/null || continue
    [[ ${words[1]-} == __keeper ]] || continue
    while read -r key value _; do
      if [[ $key == VmHWM: && $value -gt $most ]]; then most=$value; fi
    done 2>/dev/null <"${link%exe}status" || continue
  done < <(find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$cairn" 2>/dev/null)
  echo "$most"
}

# Runs cairn and sets own_kib and keeper_kib.
peak() {
  local timer now
  keeper_kib=0
  /usr/bin/time --quiet -f %M -o "$here/peak" "$cairn" run "$here/cairn/pipeline.toml" \
    </dev/null >/dev/null 2>"$here/stderr" &
  timer=$!
  while kill -0 "$timer" 2>/dev/null; do
    now=$(keeper_now_kib)
    if ((now > keeper_kib)); then keeper_kib=$now; fi
    sleep 0.01
  done
  wait "$timer" || fail "cairn run ended with $?: $(complaint)"
  own_kib=$(tail -n 1 "$here/peak")
}

# memory_row WHAT BOUND ROUNDS [SUBJECT_before]: the greatest of several runs; the bound is on both processes together.
memory_row() {
  local what=$1 bound=$2 rounds=$3 before=$4 round own=0 keeper=0 result=noted beside
  for ((round = 1; round <= rounds; round++)); do
    "$before"
    peak
    if ((own_kib + keeper_kib > own + keeper)); then own=$own_kib keeper=$keeper_kib; fi
  done
  # KiB against MB: 1000 * 1000 bytes.
  if [[ $bound != - ]]; then result=$(verdict $(((own + keeper) * 1024)) $((${bound//[!0-9]/} * 1000 * 1000 - 1))); fi
  beside="$(megabytes "$keeper") in the keeper"
  ((keeper)) || beside="no keeper seen" # too short a run
  row "$what" "$(megabytes "$own"), $beside" - - "$bound" "$result"
}

megabytes() { awk -v kib="$1" 'BEGIN { printf "%.1f MB", kib * 1024 / 1e6 }'; }

memory_first_before() { forget "$here/cairn" && settle_disk; }

case_memory() {
  local count=$1 bound=-
  case $count in
    1000) bound="< 60 MB" ;;
    10000) bound="< 200 MB" ;;
  esac
  cairn_project "$here/cairn" "$count" auto
  memory_row "peak, first run" "$bound" "$(rounds_for "$count")" memory_first_before
  same_files "$here/cairn/in" "$here/cairn/out"
  sleep 3
  peak
  memory_row "peak, nothing changed" "$bound" "$runs" true
}
