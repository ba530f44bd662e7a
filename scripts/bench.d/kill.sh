# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# kill-N: a run of N stages is killed half way, and resumed: what is done is not done again, and it takes the time that was
# left. Each stage notes in a file outside the project that it was executed: cairn's own word is not taken for it.

kill_run() { at "$here/cairn" "$cairn" run pipeline.toml --json >"$here/run.json"; }
kill_before() {
  forget "$here/cairn"
  : >"$here/executed"
  settle_disk
}
kill_resume() { at "$here/cairn" "$cairn" resume --json >"$here/resumed.json"; }

# Starts a run, kills its process group after $1 microseconds, and sets elapsed_us.
killed_after() {
  local started ended status=0
  set -m # a process group of its own
  started=$EPOCHREALTIME
  at "$here/cairn" "$cairn" run pipeline.toml --json </dev/null >"$here/killed.json" 2>"$here/stderr" &
  echo "$!" >"$work/victim"
  set +m
  sleep "$(awk -v us="$1" 'BEGIN { printf "%.4f", us / 1e6 }')"
  kill -9 -- "-$!" 2>/dev/null || true
  ended=$EPOCHREALTIME
  wait "$!" 2>/dev/null || status=$?
  : >"$work/victim"
  elapsed_us=$((${ended/./} - ${started/./}))
  ((status == 137)) || fail "the run ended with $status before it was killed: $(complaint)"
}

# How many processes there are of cairn's, or with a working folder in the case's.
orphans() {
  # Processes end while find looks at them: it then complains, and that means nothing.
  { at / find /proc -maxdepth 2 -path '/proc/[0-9]*' \
    \( -name exe -lname "$cairn*" -o -name cwd -lname "$here/*" \) 2>/dev/null || true; } |
    cut -d / -f 3 | sort -u | wc -l
}

case_kill() {
  local count=$1 round half_us before_kill left_us resume_us again=0 cut_off=0 orphaned=0
  # Outside the project, so at most `private`: stronger sandboxes would refuse it.
  cairn_project "$here/cairn" "$count" private \
    "[\"/bin/sh\", \"-c\", \"echo NAME >> '$here/executed'; exec $cp_path in/NAME.txt out/NAME.txt\"]"
  kill_before
  timed kill_run
  half_us=$((took_us / 2))

  for ((round = 1; round <= runs; round++)); do
    kill_before
    timed kill_run
    sample undisturbed "$took_us"

    kill_before
    killed_after "$half_us"
    sample elapsed "$elapsed_us"
    before_kill=$(wc -l <"$here/executed")
    timed kill_resume
    sample resume "$took_us"

    orphaned=$((orphaned + $(orphans)))
    same_files "$here/cairn/in" "$here/cairn/out"
    # A checkpoint: the killed run said RAN, or the resumed one found it.
    { ended_as "$here/killed.json" RAN && ended_as "$here/resumed.json" 'FRESH|RESTORED'; } | sort -u >"$here/committed"
    tail -n +$((before_kill + 1)) "$here/executed" | sort -u >"$here/executed-later"
    [[ -s $here/committed && -s $here/executed-later ]] || fail "the kill was not in the middle of the work"
    again=$((again + $(comm -12 "$here/committed" "$here/executed-later" | wc -l)))
    sort "$here/executed" | uniq -d >"$here/executed-twice"
    cut_off=$((cut_off + $(comm -13 "$here/committed" "$here/executed-twice" | wc -l)))
    timed at "$here/cairn" "$cairn" run pipeline.toml --frozen
  done

  left_us=$(($(median undisturbed) - $(median elapsed)))
  resume_us=$(median resume)
  ((left_us > 0)) || fail "the undisturbed runs were faster than half of the first"
  row "resume after kill -9 half way" "$(spread "$samples/resume")" \
    "time left $((left_us / 1000)) ms of $(spread "$samples/undisturbed")" "$(quotient "$resume_us" "$left_us")" \
    "<= 1.1" "$(verdict "$resume_us" "$(scaled "$left_us" 1.1)")"
  check "stages with a checkpoint executed twice, in $runs kills" "$again"
  check "processes left over, in $runs kills" "$orphaned"
  row "stages cut off and executed again, in $runs kills" "$cut_off" - - - noted
}
