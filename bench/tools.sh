#!/usr/bin/env bash
# The tools among the examples beside those that everybody has: medians of hyperfine, on one core.
#
#   bench/tools.sh              all that are there, as a table, with a warm page cache
#   bench/tools.sh --cold       with an empty one: it is dropped before each run, which only root may do
#   bench/tools.sh hash copy    only these
#   RUNS=20 TREE=/usr/share DIR=/somewhere/on/a/disk bench/tools.sh
#
# What is missing, here or there, is named and left out. The files to work on are a copy of TREE, in DIR.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=warm
if [ "${1:-}" = --cold ]; then
    cache=cold
    shift
    if ! [ -w /proc/sys/vm/drop_caches ]; then
        printf 'only root may drop the page cache\n' >&2
        exit 2
    fi
fi
runs=${RUNS:-10}
tree_of=${TREE:-/usr/share/doc}
target=${CARGO_TARGET_DIR:-target}
examples=${EXAMPLES:-$target/release/examples}
mkdir -p "$target"
scratch=$(mktemp -d "${DIR:-$target}/tools-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
scratch=$(realpath "$scratch")

skip() { printf 'left out: %s\n' "$*" >&2; }

has() { command -v "$1" >/dev/null; }

# An example by its name, if it was built.
tool() {
    local path=$examples/$1
    [ -x "$path" ] && realpath "$path"
}

# Whether a tool knows an option or a word of its help.
knows() { "$1" --help 2>&1 | grep -q -e "$2"; }

if ! has hyperfine; then
    skip "everything: hyperfine is not installed (apt install hyperfine, or cargo install hyperfine)"
    exit 1
fi
if [ -z "${EXAMPLES:-}" ]; then
    cargo build --quiet --release --examples
fi
if [ "$(stat -f -c %T "$scratch")" = tmpfs ]; then
    printf '%s is in memory: give DIR on a disk\n' "$scratch" >&2
    exit 2
fi

cp -r "$tree_of" "$scratch/tree"
tree=$scratch/tree
files=$(find "$tree" -type f | wc -l)
bytes=$(du -s --apparent-size -B1 "$tree" | cut -f1)
printf 'Linux %s, one core, %s cache, %s files of %s MB in all (%s), %s runs\n\n' \
    "$(uname -r)" "$cache" "$files" "$((bytes / 1000000))" "$tree_of" "$runs"
printf '| job | command | median ms | min | max | x the first other |\n| --- | --- | --- | --- | --- | --- |\n'

# job COMMAND OTHER..: ours first. The last column is how many times as fast as the first of the others each is.
compare() {
    local job=$1 report=$scratch/report.json
    shift
    local how=(--warmup 2)
    [ "$cache" = cold ] && how=(--prepare 'sync; echo 3 >/proc/sys/vm/drop_caches')
    # Where a search finds nothing its code is 1, which is no failure here; and grep prints nothing at all to /dev/null.
    taskset -c 0 hyperfine --style none --output pipe --ignore-failure "${how[@]}" --runs "$runs" --export-json "$report" "$@" \
        >/dev/null 2>"$scratch/said" || { cat "$scratch/said" >&2; return 1; }
    awk -v job="$job" -v cut="$scratch/" -v examples="$(realpath "$examples")/" '
        function value(line) { sub(/^[^:]*: */, "", line); sub(/,$/, "", line); return line }
        /"command":/ { n++; name = value($0); gsub(/^"|"$/, "", name); gsub(/\\"/, "\"", name)
                       gsub(cut, "", name); gsub(examples, "", name); gsub(/\|/, "\\|", name); names[n] = name }
        /"median":/ { median[n] = value($0) * 1000 }
        /"min":/ { min[n] = value($0) * 1000 }
        /"max":/ { max[n] = value($0) * 1000 }
        END { for (i = 1; i <= n; i++)
                printf "| %s | `%s` | %.1f | %.1f | %.1f | %s |\n", job, names[i], median[i], min[i], max[i],
                       (n > 1 ? sprintf("%.2f", median[2] / median[i]) : "-") }' "$report"
}

# Where copies go: never the same place, since removing and making the same inodes again is slow on ext4.
new='"$(mktemp -u '$scratch'/copy-XXXXXX)"'

hash_tree() {
    local ours
    if ! ours=$(tool hash); then skip "hash: not built"; return; fi
    local list="find $tree -type f -print0"
    if knows "$ours" sha256; then
        compare "hash, SHA-256" "$ours --algorithm sha256 $tree" "$list | xargs -0 -n 100000 sha256sum"
    else
        skip "hash, SHA-256: hash does not know it"
    fi
    if has b3sum; then
        compare "hash, BLAKE3" "$ours $tree" "$list | xargs -0 -n 100000 b3sum --num-threads 1"
    else
        skip "b3sum is not installed"
    fi
}

search_tree() {
    local ours
    if ! ours=$(tool search); then skip "search: not built"; return; fi
    if ! has rg; then skip "search: rg is not installed (apt install ripgrep)"; return; fi
    # Either says by 1 that nothing was found, which is no failure here.
    compare "search, a word" "$ours copyright $tree" "rg -j1 copyright $tree"
    compare "search, a pattern" "$ours '[a-z]+ing [a-z]+ed' $tree" "rg -j1 '[a-z]+ing [a-z]+ed' $tree"
    long_file
    compare "search, lines counted in one long file" "$ours -c copyright $scratch/long" \
        "grep -c copyright $scratch/long" "rg -j1 -c copyright $scratch/long"
}

copy_tree() {
    local ours
    if ! ours=$(tool copy); then skip "copy: not built"; return; fi
    compare "copy a tree" "$ours -r $tree $new" "cp -r $tree $new"
}

count_tree() {
    local ours
    if ! ours=$(tool count); then skip "count: not built"; return; fi
    compare "count lines, words, bytes" "$ours $tree" "find $tree -type f -print0 | wc --files0-from=-"
    compare "count disk usage" "$ours --disk $tree" "du -s $tree"
}

# All text of the tree, over and over: 128 MiB.
long_file() {
    local bytes=$((128 << 20))
    while [ "$(stat -c %s "$scratch/long" 2>/dev/null || echo 0)" -lt "$bytes" ]; do
        find "$tree" -type f -print0 | xargs -0 cat | tr -d '\000' >>"$scratch/long"
    done
    truncate -s "$bytes" "$scratch/long"
}

follow_file() {
    local ours
    if ! ours=$(tool follow); then skip "follow: not built"; return; fi
    long_file
    # A process that is no more: so it ends when all has been read.
    local gone
    gone=$(sh -c 'echo $$')
    compare "follow, what is there already" "$ours --pid $gone -n +1 $scratch/long" "tail -n +1 $scratch/long"
    compare "follow, the last lines" "$ours --pid $gone -n 1000 $scratch/long" "tail -n 1000 $scratch/long"
}

# The most that is resident, while 10 GiB are read that no disk holds.
memory() {
    local ours time=/usr/bin/time
    if ! [ -x "$time" ]; then skip "memory: $time is not installed (apt install time)"; return; fi
    truncate -s 10G "$scratch/sparse"
    printf '\n| tool | resident set of 10 GiB that are not there, MiB |\n| --- | --- |\n'
    for name in "$@"; do
        if ! ours=$(tool "$name"); then continue; fi
        local arguments=("$scratch/sparse")
        [ "$name" = copy ] && arguments+=("$scratch/sparse-copy")
        "$time" -f %M -o "$scratch/resident" taskset -c 0 "$ours" "${arguments[@]}" >/dev/null
        printf '| %s | %s |\n' "$name" "$(awk '{ printf "%.1f", $1 / 1024 }' <(tail -n 1 "$scratch/resident"))"
    done
}

if [ "$#" -eq 0 ]; then set -- hash search copy count follow; fi
for name in "$@"; do
    case $name in
        hash | search | copy | count) "${name}_tree" ;;
        follow) follow_file ;;
        *) printf 'no tool is called %s; there are: hash, search, copy, count, follow\n' "$name" >&2; exit 2 ;;
    esac
done
measured=()
for name in "$@"; do
    case $name in hash | copy | count) measured+=("$name") ;; esac
done
[ "$cache" = cold ] || [ "${#measured[@]}" -eq 0 ] || memory "${measured[@]}"
