# What a person wants: setup, demo, test, check, bench, bench-engine, clean. Each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINE := $(shell find agent/engine -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test test-long check fuzz fuzz-traces bench bench-engine bench-traces clean

setup: $(READY)

$(READY): pyproject.toml uv.lock $(ENGINE)
	@command -v cargo >/dev/null || { echo "offspec: cargo not found: the replay engine is Rust and is built here; install Rust 1.82 or newer (rustup.rs, or your distribution's rustc and cargo) and run make again" >&2; exit 4; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "offspec: $(PYTHON) is older than 3.11; install Python 3.11 or newer, or give one: make setup PYTHON=python3.12" >&2; exit 4; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/pip install -q 'uv>=0.5'
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv sync --frozen --inexact --active --no-install-project --quiet
	PATH="$(abspath $(BIN)):$$PATH" VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --locked --uv --quiet
	@touch $@

demo: setup
	@$(BIN)/offspec demo

# Pure tests side by side; those that measure have the machine to themselves.
test: setup
	$(BIN)/pytest -n 2 --dist loadfile tests/unit tests/property
	$(BIN)/pytest --ignore tests/unit --ignore tests/property

test-long: setup
	$(BIN)/pytest -m long --timeout 1800

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd agent/engine && cargo fmt --all --check
	cd agent/engine && cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	cd agent/engine && cargo test --quiet --locked --workspace
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=20

# Coverage-guided, on stable Rust; without cargo-fuzz the deterministic fuzzing in `cargo test` is what there is.
FUZZ_SECONDS ?= 300
fuzz: fuzz-traces
	@if command -v cargo-fuzz >/dev/null; then \
	  cd agent/engine && cargo fuzz run --sanitizer none sessions -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -malloc_limit_mb=64 -max_len=8192 -verbosity=0; \
	else \
	  echo "fuzz: left out, cargo-fuzz is not installed (cargo install cargo-fuzz --locked); cargo test has fuzzed the parsers deterministically"; \
	fi

fuzz-traces: setup
	@if $(BIN)/python -c 'import atheris' 2>/dev/null; then $(BIN)/python -m tests.fuzz.trace_formats $(FUZZ_SECONDS); \
	else echo "fuzz: importers left out, atheris is not there for this Python; hypothesis damages their samples in make test"; fi

bench: setup
	$(BIN)/pytest -m bench --timeout 1800 -s tests/bench

# The engine beside its peers, those that are there (tests/bench/engine/install_peers.sh); BENCH="--rounds 1 --only http" for less.
bench-engine: setup
	$(BIN)/python -m tests.bench.engine $(BENCH)

# Reading, importing, bending and describing traces, beside DuckDB and Arrow; BENCH="--long" adds 10^8 rows.
bench-traces: setup
	$(BIN)/python -m tests.bench.traces $(BENCH)

clean:
	rm -rf $(VENV) agent/engine/target agent/_engine*.so dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
