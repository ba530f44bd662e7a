# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# Folders with the same work for each program: stage sNNNNN copies in/sNNNNN.txt to out/sNNNNN.txt.

cp_path=$(type -P cp)

# sources FOLDER COUNT: the input files, each with other bytes, so that nothing is known by content from a neighbour.
sources() {
  mkdir -p "$1/in" "$1/out"
  awk -v folder="$1/in" -v count="$2" 'BEGIN {
    for (i = 1; i <= count; i++) {
      file = sprintf("%s/s%05d.txt", folder, i)
      print "line " i " of " count > file
      close(file)
    }
  }'
}

# for_each COUNT FORMAT [ARGUMENT...]: prints a format for each stage; each `NAME` in it is the stage's name.
for_each() {
  awk -v count="$1" -v format="$2" 'BEGIN {
    for (i = 1; i <= count; i++) { text = format; gsub(/NAME/, sprintf("s%05d", i), text); print text }
  }'
}

# cairn_project FOLDER COUNT SANDBOX [COMMAND]: COMMAND is the array of the command, as TOML.
cairn_project() {
  local command=${4:-"[\"$cp_path\", \"in/NAME.txt\", \"out/NAME.txt\"]"}
  sources "$1" "$2"
  {
    printf '[pipeline]\nname = "bench"\nsandbox = "%s"\n\n' "$3"
    for_each "$2" "[stages.NAME]
run = $command
inputs = [\"in/NAME.txt\"]
outputs = [\"out/NAME.txt\"]
"
  } >"$1/pipeline.toml"
}

ninja_project() {
  sources "$1" "$2"
  {
    # shellcheck disable=SC2016 # ninja's variables
    printf 'rule copy\n  command = %s $in $out\n' "$cp_path"
    for_each "$2" 'build out/NAME.txt: copy in/NAME.txt'
  } >"$1/build.ninja"
}

make_project() {
  sources "$1" "$2"
  {
    printf 'all: '
    for_each "$2" 'out/NAME.txt' | tr '\n' ' '
    printf '\n.PHONY: all\n'
    for_each "$2" "out/NAME.txt: in/NAME.txt
	$cp_path in/NAME.txt out/NAME.txt"
  } >"$1/Makefile"
}

# A chain of five stages.
chain_project() {
  local step before=in/start.txt
  mkdir -p "$1/in"
  echo start >"$1/in/start.txt"
  printf '[pipeline]\nname = "chain"\n' >"$1/pipeline.toml"
  for step in 1 2 3 4 5; do
    printf '\n[stages.step-%s]\nrun = ["%s", "%s", "out/%s.txt"]\ninputs = ["%s"]\noutputs = ["out/%s.txt"]\n' \
      "$step" "$cp_path" "$before" "$step" "$before" "$step" >>"$1/pipeline.toml"
    before=out/$step.txt
  done
}

# Takes away what a run made: outputs and state. They are moved, and removed when all is measured: ext4 without a journal
# uses no inode again that was removed in the last minute or more, and to search past thousands of them makes each new
# file of the next round, whoever makes it, several times as slow.
forget() {
  local past
  past=$(mktemp -d "$work/past.XXXXXX")
  mv "$1/.cairn" "$1/out" "$past/" 2>/dev/null || true
  mkdir -p "$1/out"
}
