# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# Rows of the table of results: in $work/rows, their seven cells parted by tabs.

# row WHAT CAIRN PEER RATIO BOUND RESULT: adds a row of the present case. `-` is an empty cell; RESULT is PASS, MISS, SKIP,
# ERROR, or `noted` where there is no bound.
row() {
  local IFS=$'\t'
  printf '%s\n' "$name"$'\t'"$*" >>"$work/rows"
  printf 'bench:   %s: %s | %s | %s | %s | %s\n' "$@" >&2
}

# skip REASON: notes that a case is not measured here, and ends it.
skip() {
  row "$*" - - - - SKIP
  exit 0
}

# compare WHAT SUBJECT PEER_NAME PEER BOUND: adds the row of two subjects (PEER may be `-`: nothing to compare with). BOUND is
# `<= R` on the ratio, `< N ms` on our own time, or `-`.
compare() {
  local what=$1 ours=$2 peer_name=$3 peer=$4 bound=$5 ours_us peer_us ratio=- peer_text=- result=noted
  ours_us=$(median "$ours")
  if [[ $peer != - ]]; then
    peer_us=$(median "$peer")
    ratio=$(quotient "$ours_us" "$peer_us")
    peer_text="$peer_name $(spread "$samples/$peer")"
  fi
  case $bound in
    "<= "*) result=$(verdict "$ours_us" "$(scaled "$peer_us" "${bound#<= }")") ;;
    "< "*" ms") result=$(verdict "$ours_us" "$((${bound//[!0-9]/} * 1000 - 1))") ;;
  esac
  row "$what" "$(spread "$samples/$ours")" "$peer_text" "$ratio" "$bound" "$result"
}

# check WHAT COUNT: adds the row of something that must not be.
check() { row "$1" "$2" - - 0 "$(verdict "$2" 0)"; }

# verdict VALUE MOST: whether a whole number is at most another.
verdict() { if (($1 <= $2)); then echo PASS; else echo MISS; fi; }

quotient() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / (b > 0 ? b : 1) }'; }
scaled() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%d", a * b }'; }

# A file of times as text: the median and, of several, the least and the greatest.
spread() {
  sort -n "$1" | awk -v median="$(median_of "$1")" '
    { v[NR] = $1 }
    function shown(us) { return unit == "s" ? sprintf("%.2f", us / 1e6) : sprintf("%.1f", us / 1e3) }
    END {
      unit = median >= 1e6 ? "s" : "ms"
      printf "%s %s", shown(median), unit
      if (NR > 1) printf " (%s-%s)", shown(v[1]), shown(v[NR])
    }'
}

headings=$'case\twhat\tcairn\tbeside\tratio\tbound\tresult'

# The rows on standard input as a table for the terminal.
as_text() {
  { printf '%s\n' "$headings" && cat; } | awk -F '\t' '
    { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
    END { for (r = 1; r <= NR; r++) for (i = 1; i <= 7; i++) printf((i < 7 ? "%-" width[i] "s  " : "%s\n"), cell[r, i]) }'
}

# The rows on standard input as a table in Markdown.
as_markdown() {
  { printf '%s\n' "$headings" && cat; } | awk -F '\t' '
    { printf "|"; for (i = 1; i <= 7; i++) printf " %s |", $i; printf "\n" }
    NR == 1 { print "| --- | --- | --- | --- | --- | --- | --- |" }'
}

# The first version number in a text.
version_in() { grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' <<<"$1" | sed -n 1p; }

# How much of the processors others use, in a second in which nothing is measured.
busy_percent() {
  { sed -n 1p /proc/stat && sleep 1 && sed -n 1p /proc/stat; } | awk '
    { idle[NR] = $5 + $6; for (i = 2; i <= 9; i++) all[NR] += $i }
    END { printf "%d", 100 * (1 - (idle[2] - idle[1]) / (all[2] - all[1])) }'
}

# Where and of what the figures are.
describe_machine() {
  local commit file_system busy tool peers=()
  commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
  if [[ -n $(git -C "$root" status --porcelain -- crates Cargo.lock 2>/dev/null) ]]; then commit+=" with changes"; fi
  file_system=$(df --output=fstype "$work" | tail -n 1)
  for tool in ninja make b3sum find; do
    if command -v "$tool" >/dev/null; then peers+=("$tool $(version_in "$("$tool" --version)"),"); fi
  done
  printf '%s, commit %s, on %s.\n' "$("$cairn" --version | sed -n 1p)" "$commit" "$(date -u +%F)"
  busy=$(busy_percent)
  printf '%s processors (%s), %s memory, Linux %s, %s, %s %% busy before the start.\n' "$(nproc)" \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p)" \
    "$(awk '/^MemTotal:/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)" "$(uname -r)" "$file_system" "$busy"
  printf 'Beside %s medians of %s (of %s where more than 5000 stages run for the first time).\n' \
    "${peers[*]}" "$runs" "$runs_large"
  if ((busy > 10)); then printf 'The machine was busy with other things: the figures are worth little.\n'; fi
  if [[ $file_system == tmpfs ]]; then
    printf 'This is a file system in memory: making files durable costs nothing here. Set CAIRN_BUILD_CACHE to a disk.\n'
  fi
}
