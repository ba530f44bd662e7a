# shellcheck shell=bash disable=SC2154 # what scripts/bench sets before it calls
# hash-Ngib: one stage with one large input. hash-Nk: one stage with a folder of N thousand files of 4 KiB.
# All is read once before, so that it comes from the page cache and not from the disk.

# pseudo_random BYTES SEED: a stream that cannot be compressed and is the same each time (where there is openssl).
pseudo_random() {
  if command -v openssl >/dev/null; then
    # openssl is cut off when there is enough.
    { openssl enc -aes-128-ctr -K "$(printf '%032x' "$2")" -iv 0 -nosalt </dev/zero 2>/dev/null || true; } | head -c "$1"
  else
    head -c "$1" /dev/urandom
  fi
}

# hash_project FOLDER INPUT: in the project's own folder (`off`), since copying the input is not what is measured.
hash_project() {
  mkdir "$1/out"
  cat >"$1/pipeline.toml" <<EOF
[pipeline]
name = "hash"
sandbox = "off"

[stages.hash]
run = ["$(type -P touch)", "out/done.txt"]
inputs = ["$2"]
outputs = ["out/done.txt"]
EOF
}

# room_for MEBIBYTES: skips the case where that does not fit on the disk, or not in the page cache.
room_for() {
  local disk memory
  disk=$(df --output=avail -BM "$here" | tail -n 1)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  ((${disk//[!0-9]/} > $1 * 5 / 4)) || skip "not measured: no room for $1 MiB on the disk"
  ((memory > $1 * 5 / 4)) || skip "not measured: $1 MiB do not fit in the page cache"
}

hash_run() { at "$here" "$cairn" run pipeline.toml; }
hash_run_before() { forget "$here" && settle_disk; }
hash_plan() { at "$here" "$cairn" plan pipeline.toml; }
hash_plan_before() { hash_run_before; }
hash_b3sum_file() { at "$here" b3sum big.bin; }
# shellcheck disable=SC2016 # $1 is the inner shell's
hash_b3sum_files() { at "$here" sh -c 'find in -type f -print0 | xargs -0 b3sum'; }
hash_again() { at "$here" "$cairn" run pipeline.toml; }
hash_stat() { at "$here" find in -type f -printf '%s %T@ %C@\n'; }

case_hash_gib() {
  room_for $(($1 * 1024))
  pseudo_random $(($1 << 30)) 1 >"$here/big.bin"
  (($(stat -c %s "$here/big.bin") == $1 << 30)) || fail "the input could not be made"
  settle_disk
  hash_project "$here" big.bin
  interleaved "$runs" hash_run hash_plan hash_b3sum_file
  compare "first run with one input of $1 GiB" hash_run b3sum hash_b3sum_file "<= 1.1"
  compare "first plan with one input of $1 GiB" hash_plan b3sum hash_b3sum_file -
}

case_hash_k() {
  local folder count=${1}000
  # A file takes a block and an inode.
  room_for $(($1 * 1000 * 5 / 1024 + 100))
  for ((folder = 1; folder <= $1; folder++)); do
    mkdir -p "$here/in/$folder"
    pseudo_random 4096000 "$folder" | split -b 4096 -a 3 -d - "$here/in/$folder/f"
  done
  (($(find "$here/in" -type f -size 4096c | wc -l) == count)) || fail "the inputs could not be made"
  settle_disk
  hash_project "$here" in/
  interleaved "$runs" hash_run hash_plan hash_b3sum_files
  compare "first run with $count files of 4 KiB" hash_run "xargs b3sum" hash_b3sum_files "<= 1.0"
  compare "first plan with $count files of 4 KiB" hash_plan "xargs b3sum" hash_b3sum_files -

  hash_run_before
  timed hash_run
  sleep 3
  timed hash_run
  interleaved "$runs" hash_again hash_stat
  compare "again, nothing changed" hash_again "find, stat of each" hash_stat "<= 2.0"
}
