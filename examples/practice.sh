#!/usr/bin/env bash
# An incident to practise on: the orders service, with no worker in its pool, in a directory of its own. No root,
# and nothing outside that directory.
set -euo pipefail

usage='usage: examples/practice.sh DIR [--bare | --proposed]
  --bare      without a state directory: for the operator who makes one
  --proposed  with a fix that is proposed already: for the approver'
directory=${1:-}
with=${2:-}
case "$directory$with" in '' | -*) echo "$usage" >&2 && exit 2 ;; esac
case "$with" in '' | --bare | --proposed) ;; *) echo "$usage" >&2 && exit 2 ;; esac
[ ! -e "$directory" ] || { echo "practice: \`$directory\` is there already: name a new directory" >&2; exit 1; }
command -v countersign >/dev/null || { echo "practice: \`countersign\` is not on the PATH: make demo, then PATH=\$PWD/target/debug:\$PATH" >&2; exit 1; }
command -v ssh-keygen >/dev/null || { echo "practice: ssh-keygen is needed: apt-get install openssh-client" >&2; exit 1; }

case "$directory" in /*) ;; *) directory=$PWD/$directory ;; esac
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$directory/orders"
directory=$(cd "$directory" && pwd)
bundles="pool-size pool-size-twin"
if [ -n "${COUNTERSIGN_BUILT:-}" ]; then # what tests have built already
  cp "$COUNTERSIGN_BUILT/service/release/orders" "$directory/orders/orders"
  for name in $bundles; do cp -r "$COUNTERSIGN_BUILT/bundles/$name" "$directory/$name"; done
else
  echo "building the service and two bundles"
  cargo build --quiet --release --locked --manifest-path examples/service/Cargo.toml --target-dir "$target/service"
  cp "$target/service/release/orders" "$directory/orders/orders"
  for name in $bundles; do
    CARGO_TARGET_DIR=$target/steps countersign build "examples/$name" --out "$directory/$name" >"$directory/build.log" 2>&1 ||
      { tail -n 15 "$directory/build.log" >&2; echo "practice: examples/$name cannot be built; remove $directory and try again" >&2; exit 1; }
  done
fi

rm -f "$directory/build.log"
sed 's/^pool-size = .*/pool-size = 0/' examples/service/orders.toml >"$directory/orders/orders.toml"
cd "$directory"
for name in agent second alice; do ssh-keygen -q -t ed25519 -N '' -C $name -f "$name"; done
orders/orders --config "$directory/orders/orders.toml" --pid-file "$directory/orders/orders.pid" \
  --address-file "$directory/orders/address" >/dev/null 2>orders/log &
for _ in $(seq 600); do [ -s orders/address ] && break; sleep 0.05; done
origin=http://$(cat orders/address)

cat >env <<ENV
export COUNTERSIGN_STATE=$directory/state
export ORIGIN=$origin
arguments="--target orders --arg config=$directory/orders/orders.toml --arg origin=$origin \\
  --arg executable=$directory/orders/orders --arg pid-file=$directory/orders/orders.pid"
ENV
cat >target.toml <<TARGET

[targets.orders]
description = "the orders service"
rollback-owner = "alice"

[targets.orders.investigation]
ceiling = [
  "files.read $directory/orders/orders.toml",
  "http.read $origin/**",
  "process.read exe=$directory/orders/orders",
]

[targets.orders.remediation]
ceiling = [
  "files.read $directory/orders/orders.toml",
  "files.write $directory/orders/orders.toml max-calls=2",
  "process.write exe=$directory/orders/orders signals=HUP",
]

[[targets.orders.guards]]
name = "the service is up"
call = "http.get $origin/healthz"
expect = { status = 200 }
TARGET
# shellcheck disable=SC1091
. ./env
if [ "$with" != --bare ]; then
  countersign init --approver alice.pub --proposer agent.pub --proposer second.pub >/dev/null
  cat target.toml >>state/config.toml
fi
if [ "$with" = --proposed ]; then
  # shellcheck disable=SC2086
  countersign propose pool-size $arguments --key agent --hypothesis 'pool-size is 0, so no worker takes orders' >/dev/null 2>propose.log ||
    { cat propose.log >&2; exit 1; }
  rm propose.log
fi
echo "the orders service answers at $origin, and every order with 503"
echo "go there:  cd $directory && . ./env"
echo "stop it:   kill $(cat orders/orders.pid)"
