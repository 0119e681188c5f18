#!/usr/bin/env bash
# Messages per second and CPU per message of the daemon, beside a bare axum handler (floor.rs) in the same rounds.
#
#   tests/bench/load.sh [ROUNDS] [SECONDS]      default: 5 rounds of 5 s
#
# Server on core 0, load on core 1, 32 connections, closed loop, every message signed, new and checked; alternating, so
# that a busy machine is as unkind to one as to the other. Needs a release build, the load generator
# (`$WXFAQ_SHARED_DIR/bench/wxload`, default ../shared), curl and python3. WXFAQ names another binary to measure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-5} seconds=${2:-5}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
shared=$(realpath "${WXFAQ_SHARED_DIR:-../shared}")
wxfaq=${WXFAQ:-$target/release/wxfaq}

cargo build --release --locked --quiet
cargo build --release --locked --quiet --benches
(cd "$shared/bench/wxload" && CARGO_TARGET_DIR="$target/wxload" cargo build --release --locked --quiet)
floor=$(find "$target/release/deps" -name 'floor-*' -executable -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
python3 - "$work" <<'PY'
import itertools, json, random, sys
random.seed(1)
queries = [json.loads(line)["query"] for line in open("tests/data/sample-queries.jsonl")]
open(f"{sys.argv[1]}/asked.txt", "w").write("\n".join(queries))
# A character less here, two swapped there: hundreds of thousands of texts that nobody has asked before.
def slips(text):
    for a, b in itertools.product(range(len(text)), repeat=2):
        less = text[:a] + text[a + 1:]
        yield less[:b] + less[b + 1:b + 2] + less[b:b + 1] + less[b + 2:]
new = list({slip for query in queries for slip in slips(query) if slip.strip()})
random.shuffle(new)
open(f"{sys.argv[1]}/new.txt", "w").write("\n".join(new))
print(f"{len(queries)} queries as asked, {len(new)} new ones")
PY
cat >"$work/wxfaq.toml" <<'TOML'
[server]
listen = "127.0.0.1:8198"
ops_listen = "127.0.0.1:8197"

[[account]]
id = "bench"
appid = "wx1a2b3c4d5e6f7081"
mode = "plain"
token = "benchtoken"
TOML
bank=$PWD/config/sample-bank.jsonl
cd "$work"
"$wxfaq" import --config wxfaq.toml "$bank" >/dev/null
taskset -c 0 "$wxfaq" serve --config wxfaq.toml >log 2>&1 &
daemon=$!
taskset -c 0 "$floor" --port 8199 &
bare=$!
until curl -sf 127.0.0.1:8197/readyz >/dev/null; do sleep 0.2; done

load() {
    taskset -c 1 "$target/wxload/release/wxload" -c 32 -d "$seconds" --json --token benchtoken "$@" || true
}
for _ in $(seq "$rounds"); do
    load --port 8199 --queries asked.txt --pid "$bare" --no-check >>floor
    load --port 8198 --queries asked.txt --pid "$daemon" >>asked
    load --port 8198 --queries new.txt --pid "$daemon" >>new
done
python3 - <<'PY'
import json, statistics
runs = {name: [json.loads(line) for line in open(name)] for name in ("floor", "asked", "new")}
median = lambda name, key: statistics.median(run[key] for run in runs[name])
print(f"{'':34}{'messages/s':>12}{'of the floor':>14}{'CPU us each':>13}{'p50 us':>9}{'p99 us':>9}{'RSS MiB':>9}{'wrong':>7}")
for name, what in (("floor", "bare axum handler"), ("asked", "asked before (matches cached)"), ("new", "never asked before")):
    share = statistics.median(run["rps"] / floor["rps"] for run, floor in zip(runs[name], runs["floor"]))
    # Pictures, articles and hand-offs have no <Content>; they are right.
    wrong = sum(run["wrong"] - run["content"] for run in runs[name])
    print(f"{what:34}{median(name, 'rps'):12.0f}{share:14.2f}{median(name, 'cpu_us_per_req'):13.1f}"
          f"{median(name, 'p50_us'):9.0f}{median(name, 'p99_us'):9.0f}{median(name, 'rss_mib'):9.1f}{wrong:7}")
PY
