#!/usr/bin/env bash
# Installs the peers that the benchmark compares with: by apt, cargo, go and pip, each as configured here; what cannot be had is said and
# left out. All but apt's go to $OFFSPEC_PEERS, ~/.cache/offspec-peers if unset, where the benchmark looks for them. wrk2 and memtier_benchmark
# are in few distributions: give their source trees in $WRK2_SOURCE and $MEMTIER_SOURCE, and they are built (in a copy).
set -uo pipefail
peers=${OFFSPEC_PEERS:-$HOME/.cache/offspec-peers}
mkdir -p "$peers"
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
lacking=()

as_root apt-get update -qq
for package in nginx-light redis-server redis-tools wrk nghttp2-client hey apache2-utils memtier-benchmark build-essential libssl-dev zlib1g-dev \
  autoconf automake pkg-config libevent-dev libpcre3-dev; do
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || lacking+=("apt: $package")
done

if command -v cargo >/dev/null && cargo install --quiet --locked --root "$peers/cargo" oha; then
  ln -sf cargo/bin/oha "$peers/oha"
else
  lacking+=("oha")
fi

if command -v go >/dev/null; then
  GOBIN="$peers" GOPATH="$peers/go" go install github.com/tsenart/vegeta/v12@latest || lacking+=("vegeta")
else
  lacking+=("vegeta: no go")
fi

if python3 -m venv "$peers/locust-venv" && "$peers/locust-venv/bin/pip" install -q locust; then
  ln -sf locust-venv/bin/locust "$peers/locust"
else
  lacking+=("locust")
fi

# build NAME SOURCE PROGRAM COMMAND: the program that the command makes in a copy of the source becomes $peers/NAME.
build() {
  local copy
  copy=$(mktemp -d)
  if cp -r "$2/." "$copy" && (cd "$copy" && bash -c "$4") >/dev/null 2>&1; then cp "$copy/$3" "$peers/$1"; else lacking+=("$1"); fi
  rm -rf "$copy"
}
if [ -n "${WRK2_SOURCE:-}" ]; then build wrk2 "$WRK2_SOURCE" wrk "make"; else lacking+=("wrk2: no WRK2_SOURCE"); fi
if ! command -v memtier_benchmark >/dev/null; then
  if [ -n "${MEMTIER_SOURCE:-}" ]; then
    build memtier_benchmark "$MEMTIER_SOURCE" memtier_benchmark "autoreconf -if && ./configure --disable-tls && make"
  else
    lacking+=("memtier_benchmark: no MEMTIER_SOURCE")
  fi
fi

echo "peers: $peers"
for each in ${lacking[@]+"${lacking[@]}"}; do echo "not installed: $each" >&2; done
