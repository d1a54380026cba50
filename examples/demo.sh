#!/usr/bin/env bash
# One incident through the whole product, on this machine: a small real HTTP service with a bad value
# in its configuration. No root, nothing outside a temporary directory, and nothing left behind.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
countersign=${COUNTERSIGN:-$root/target/debug/countersign}
bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true)

[ -x "$countersign" ] || { echo "build first: make demo" >&2; exit 1; }
command -v ssh-keygen >/dev/null || { echo "ssh-keygen is needed: apt-get install openssh-client" >&2; exit 1; }

scene() { printf '\n%s== %s ==%s\n' "$bold" "$1" "$plain"; }
tell() { printf '\n%s\n' "$1"; }
# Shows a command, runs it, and insists on its exit code.
run() {
  local expected=$1 code=0
  shift
  printf '%s$ countersign %s%s\n' "$bold" "$(brief "$@")" "$plain"
  "$countersign" "$@" || code=$?
  printf '(exit code %s)\n' "$code"
  [ "$code" = "$expected" ] || { echo "demo: expected exit code $expected" >&2; exit 1; }
}
# A command as one line, with the long paths of this demo shortened.
brief() { local line="$*"; line=${line//$work\//}; line=${line//$root\//}; printf '%s' "${line:0:150}"; }
# The value of a key in the JSON object that a command prints.
value() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

work=$(mktemp -d "${TMPDIR:-/tmp}/countersign-demo.XXXXXX")
service=
cleanup() {
  [ -z "$service" ] || { kill "$service" 2>/dev/null && wait "$service" 2>/dev/null; } || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

scene "building the service and the steps (WebAssembly)"
cargo build --quiet --release --manifest-path examples/service/Cargo.toml --target-dir target/service
bundles=$root/target/bundles
mkdir -p "$bundles"
# What cargo says is shown where it fails.
build() {
  CARGO_TARGET_DIR=$root/target/steps "$countersign" build "examples/$1" --out "$bundles/${1##*/}" >"$work/build.log" 2>&1 ||
    { tail -n 15 "$work/build.log" >&2; exit 1; }
}
for name in pool-size pool-size-twin hostile/out-of-bounds; do
  build "$name"
  echo "built $name"
done

scene "an incident: the orders service runs with pool-size = 0"
mkdir "$work/orders"
cp target/service/release/orders "$work/orders/orders"
config=$work/orders/orders.toml
sed 's/^pool-size = .*/pool-size = 0/' examples/service/orders.toml >"$config"
"$work/orders/orders" --config "$config" --pid-file "$work/orders/orders.pid" --address-file "$work/orders/address" 2>"$work/orders/log" &
service=$!
for _ in $(seq 200); do [ -s "$work/orders/address" ] && break; sleep 0.05; done
address=$(cat "$work/orders/address")
echo "it runs as process $service and answers at http://$address"
cat "$config"

tell "The operator sets Countersign up: a state directory, an approver's key, a target with its ceilings and a guard."
ssh-keygen -q -t ed25519 -N '' -C agent -f "$work/agent"
ssh-keygen -q -t ed25519 -N '' -C alice -f "$work/alice"
export COUNTERSIGN_STATE=$work/state
run 0 init --approver "$work/alice.pub" --proposer "$work/agent.pub"
cat >>"$COUNTERSIGN_STATE/config.toml" <<CONFIG

[targets.orders]
description = "the orders service of this demo"
rollback-owner = "alice"

[targets.orders.investigation]
ceiling = [
  "files.read $config",
  "http.read http://$address/**",
  "process.read exe=$work/orders/orders",
]

[targets.orders.remediation]
ceiling = [
  "files.read $config",
  "files.write $config max-calls=2",
  "process.write exe=$work/orders/orders signals=HUP",
]

[[targets.orders.guards]]
name = "the service is up"
call = "http.get http://$address/healthz"
expect = { status = 200 }
CONFIG
arguments=(--target orders --arg config="$config" --arg origin="http://$address"
  --arg executable="$work/orders/orders" --arg pid-file="$work/orders/orders.pid")

scene "1. a good fix is investigated, proposed, reviewed, approved, run and committed"
tell "The agent looks, read-only; every read becomes evidence that the runner signs."
run 0 investigate "$bundles/pool-size" "${arguments[@]}" --key "$work/agent"
evidence=$("$countersign" --json read orders "files.read $config" --key "$work/agent" 2>/dev/null | value id)
tell "It proposes a fix. The runner rehearses it itself; nothing is changed."
proposal=$("$countersign" --json propose "$bundles/pool-size" "${arguments[@]}" --evidence "$evidence" \
  --hypothesis "pool-size is 0, so no worker takes orders" --key "$work/agent" | value proposal)
echo "proposed $proposal"
tell "A person reviews what would change, and signs it."
run 0 review "$proposal"
run 0 approve "$proposal" --key "$work/alice" --reason "pool-size 0 explains the 503s"
tell "The runner runs exactly that."
run 0 run "$proposal"
run 0 read orders "http.get http://$address/orders"

scene "2. a fix that makes things worse is rolled back by itself"
tell "The incident comes back: somebody deploys pool-size = 0 once more."
sed -i 's/^pool-size = .*/pool-size = 0/' "$config"
kill -HUP "$service"
before=$(sha256sum <"$config")
tell "An agent proposes a pool of 500, and a person approves it; the service will reject it."
proposal=$("$countersign" --json propose "$bundles/pool-size-twin" "${arguments[@]}" \
  --hypothesis "a pool of 500 will never run dry" --key "$work/agent" 2>/dev/null | value proposal)
"$countersign" approve "$proposal" --key "$work/alice" --reason "sounds plausible" >/dev/null
run 4 run "$proposal"
[ "$before" = "$(sha256sum <"$config")" ] || { echo "demo: the configuration is not as before" >&2; exit 1; }
echo "the configuration is byte for byte as before the run, and the service is up again:"
run 0 read orders "http.get http://$address/healthz"

scene "3. a fix that reaches outside its grants is denied, with the grant that would have allowed it"
run 3 propose "$bundles/out-of-bounds" "${arguments[@]}" --hypothesis "just the config, promise" --key "$work/agent"

scene "4. an investigation that imports a write interface is refused before it is compiled"
CARGO_TARGET_DIR=$root/target/steps run 3 build examples/hostile/writing-investigation --out "$work/refused"
[ ! -e "$work/refused" ] || { echo "demo: a bundle was written" >&2; exit 1; }

scene "what happened"
run 0 runs
tell "The demo is over; it stops the service and removes $work."
