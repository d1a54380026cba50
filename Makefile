# `make demo` and `make test` do everything, set-up included, each on its own.

.PHONY: demo test bench lint docs setup wasm-target

CARGO ?= cargo
# The same features everywhere, or wasmtime is built twice.
BUILD = $(CARGO) build --workspace --locked
TEST = $(CARGO) test --workspace --locked

demo: setup
	$(BUILD)
	@./examples/demo.sh

test: setup
	$(TEST)

bench: setup
	$(CARGO) bench --locked

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	./.ci/examples fmt --check
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline --all-features check licenses bans sources || $(CARGO) deny check licenses bans sources; \
	else echo "cargo-deny is not installed; 'cargo install cargo-deny --locked' gives it"; fi

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

setup: wasm-target
	@command -v cc >/dev/null || { echo "a C compiler is needed (SQLite is built from source): apt-get install gcc libc6-dev" >&2; exit 1; }

wasm-target:
	@command -v rustc >/dev/null || { echo "Rust is needed: see https://rustup.rs" >&2; exit 1; }
	@test -d "$$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" || { \
	  echo "adding the Rust target wasm32-unknown-unknown"; \
	  rustup target add wasm32-unknown-unknown || { \
	    echo "the Wasm target could not be added: run 'rustup target add wasm32-unknown-unknown' where rustup can reach its server," >&2; \
	    echo "or see CONTRIBUTING.md, 'Without rustup's server'" >&2; exit 1; }; }
