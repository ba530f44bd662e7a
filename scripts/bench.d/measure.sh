# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# Taking times: what is compared runs turn by turn, so that a change of the machine's mood meets all alike.
#
# A subject is a function that starts one program. Its samples are in the file $samples/SUBJECT, whole microseconds, one a
# line.

# Ends the case, as one that could not be measured, with a reason.
fail() {
  printf '%s\n' "$*" >"$here/why"
  exit 1
}

# What a program said that ended with an error: the line that seems to tell it, else the last one.
complaint() {
  { grep -m 1 -iE 'error|failed|cannot' "$here/stderr" || tail -n 1 "$here/stderr"; } | tr -s '\t ' ' ' | sed 's,^ ,,'
}

# Starts a program in a folder: one fork and one exec, whichever program it is.
at() { (cd "$1" && shift && exec "$@"); }

# Runs a subject and sets took_us. Standard output is thrown away: to write it down is not what is measured.
timed() {
  local started ended status=0
  started=$EPOCHREALTIME
  "$@" </dev/null >/dev/null 2>"$here/stderr" || status=$?
  ended=$EPOCHREALTIME
  took_us=$((${ended/./} - ${started/./}))
  ((status == 0)) || fail "$1 ended with $status: $(complaint)"
}

# Adds a time to a subject's samples.
sample() { printf '%s\n' "$2" >>"$samples/$1"; }

# interleaved ROUNDS SUBJECT...: takes ROUNDS samples of each, A B A B. What SUBJECT_before does is not in its time. One
# round before them is thrown away (cold caches, programs never started); not so where there is only one, the long ones.
interleaved() {
  local rounds=$1 round subject
  shift
  for ((round = rounds > 1 ? 0 : 1; round <= rounds; round++)); do
    for subject in "$@"; do
      if declare -F "${subject}_before" >/dev/null; then "${subject}_before"; fi
      timed "$subject"
      ((round == 0)) || sample "$subject" "$took_us"
    done
  done
}

# The median of the numbers in a file.
median_of() {
  sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : int((v[NR / 2] + v[NR / 2 + 1]) / 2) }'
}

# The median of a subject's samples, in microseconds.
median() { median_of "$samples/$1"; }

# Rounds for a case that runs so many stages for the first time.
rounds_for() { if (($1 > 5000)); then echo "$runs_large"; else echo "$runs"; fi; }

# Writes what is dirty to the disk, so that one program does not pay for what another left behind.
settle_disk() { sync -f "$here"; }

# The instances that ended in one of the ways $2 (a pattern) in the lines of `--json` in the file $1, sorted.
ended_as() {
  sed -nE 's/.*"instance":"([^"]*)".*"outcome":"('"$2"')".*/\1/Ip' "$1" | sort -u
}

# Fails unless two folders hold the same files with the same bytes: a figure counts only if the work was done.
same_files() { diff -rq "$1" "$2" >"$here/stderr" || fail "$1 and $2 differ: $(tail -n 1 "$here/stderr")"; }
