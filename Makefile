# `make demo` and `make test` do everything, set-up included, each on its own.

.PHONY: demo test test-faults fuzz bench lint docs mutants snapshots pages setup setup-wasm setup-test

CARGO ?= cargo
# Always the whole workspace: with other features, wasmtime would be built twice.
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
EXAMPLES = $(wildcard examples/*/Cargo.toml examples/hostile/*/Cargo.toml runner/sandbox/tests/wasi-guest/Cargo.toml)

demo: setup setup-wasm
	$(CARGO) build --workspace --locked
	@COUNTERSIGN=$(abspath $(TARGET_DIR))/debug/countersign ./examples/demo.sh

test: setup setup-wasm setup-test
	$(CARGO) test --workspace --locked

# Kills and fails a run at every place where a machine can, and writes docs/reliability.md; `make test` tries some places.
test-faults: setup setup-wasm setup-test
	COUNTERSIGN_ALL_FAULTS=1 $(CARGO) test --workspace --locked --test faults -- --nocapture

# Records the outputs of every command anew. Read the difference before you commit it.
snapshots: setup setup-wasm
	INSTA_UPDATE=always $(CARGO) test --workspace --locked --test snapshots

# Writes what in docs/ is made from the code, and what the quick starts' commands print.
pages: setup setup-wasm
	COUNTERSIGN_WRITE_PAGES=1 $(CARGO) test --workspace --locked --no-fail-fast --bin countersign --test walks

bench: setup setup-wasm
	$(CARGO) bench --workspace --locked --bench ratios -- $(BENCH)

# Breaks one promise after the other and insists that its test notices; `make mutants MUTANTS=overlay,guards` for some.
mutants: setup setup-wasm
	MUTANTS="$(MUTANTS)" $(CARGO) test --workspace --locked --test mutants -- --ignored --nocapture

# Each parser of untrusted bytes, for so many seconds. What is found is left in fuzz/artifacts: make it a test.
FUZZ_SECONDS ?= 60
FUZZ = $(patsubst fuzz/targets/%.rs,%,$(wildcard fuzz/targets/*.rs))

fuzz: setup
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "installing cargo-fuzz"; $(CARGO) install cargo-fuzz --locked --quiet; }
	@command -v c++ >/dev/null || { echo "a C++ compiler is needed, libFuzzer is built from source: apt-get install g++" >&2; exit 1; }
	@for target in $(FUZZ); do \
	  mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target; \
	  echo "== $$target, for $(FUZZ_SECONDS) s"; \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 || exit 1; done

lint: setup
	$(CARGO) fmt --all --check
	@for manifest in $(EXAMPLES); do $(CARGO) fmt --check --manifest-path $$manifest || exit 1; done
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check licenses bans sources; \
	else echo "cargo-deny is not installed, so licences and sources are tested by tests/dependencies.rs alone"; fi

docs: setup
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

setup:
	@command -v git >/dev/null || { echo "git is needed: apt-get install git" >&2; exit 1; }
	@command -v rustc >/dev/null || { echo "Rust is needed: see https://rustup.rs" >&2; exit 1; }
	@printf '1.95.0\n%s\n' "$$(rustc --version | cut -d' ' -f2)" | sort -CV || { \
	  echo "Rust 1.95 or later is needed, and this is $$(rustc --version): rustup update" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is needed, SQLite is built from source: apt-get install gcc libc6-dev" >&2; exit 1; }
	@command -v ssh-keygen >/dev/null || { echo "ssh-keygen is needed: apt-get install openssh-client" >&2; exit 1; }

# What steps are built for; linting and documentation need none of it.
setup-wasm:
	@for target in wasm32-unknown-unknown wasm32-wasip2; do \
	  test -d "$$(rustc --print sysroot)/lib/rustlib/$$target" || { \
	  echo "adding the Rust target $$target"; \
	  rustup target add $$target || { \
	    echo "the Wasm target could not be added: run 'rustup target add $$target' where rustup can reach" >&2; \
	    echo "its server, or see CONTRIBUTING.md, 'Without rustup's server'" >&2; exit 1; }; }; done

# OpenSSH's own stand-in for a hardware key is in its tests' package, whose other parts nothing here needs: it is taken out of it.
# The nginx example is tested on a real nginx, and system calls are made to fail by strace. Nothing is started by installing them.
setup-test:
	@command -v strace >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing strace for the fault tests"; \
	    (DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends strace || \
	     { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends strace; }) >/dev/null; \
	  else echo "strace is needed by the fault tests: apt-get install strace" >&2; exit 1; fi; }
	@test -x /usr/sbin/nginx || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing nginx for its example's test"; \
	    (RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nginx || \
	     { apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nginx; }) >/dev/null; \
	  else echo "nginx is needed by its example's test: apt-get install nginx" >&2; exit 1; fi; }
	@test -e target/openssh-tests/usr || test -e /usr/lib/openssh/regress || { \
	  if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then \
	    echo "fetching OpenSSH's stand-in for hardware keys"; \
	    mkdir -p target/openssh-tests && cd target/openssh-tests && \
	    { apt-get download -q openssh-tests || { apt-get update -q && apt-get download -q openssh-tests; }; } >/dev/null 2>&1 && \
	    dpkg-deb -x openssh-tests_*.deb . && rm openssh-tests_*.deb; \
	  fi || echo "without it, tests of signing with hardware say that they are skipped: apt-get install openssh-tests" >&2; }
