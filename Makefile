# Shortcuts over cargo. Each works alone and from a fresh clone; `make` lists them.
#
# Compiled files go to one folder outside the clone, which all clones share; CARGO_TARGET_DIR moves it.
# ARGS="..." is handed on to the command behind a target: make test ARGS="--test crash"

SHELL := bash
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/cairn
CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO_TARGET_DIR

# Before every cargo call: RocksDB compiled once, ready to be linked.
ROCKSDB := rocksdb=$$(scripts/rocksdb-prebuild) && eval "$$rocksdb" &&

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

.PHONY: deps
deps: ## install what compiling needs beside Rust (nothing when all is there)
	@scripts/install-deps

.PHONY: test-deps
test-deps: ## install what the tests need too: python3 and a PostgreSQL server
	@scripts/install-deps tests

.PHONY: build
build: deps ## compile the release binary
	@$(ROCKSDB) cargo build --release --locked -p cairn

.PHONY: dist
dist: deps ## compile the binary as it is installed: takes longer, and makes a faster one
	@$(ROCKSDB) cargo build --profile dist --locked -p cairn

.PHONY: demo
demo: build ## see a real pipeline run, pass over what is done, be killed and resume
	@CAIRN="$$(cd "$$CARGO_TARGET_DIR" && pwd)/release/cairn" scripts/demo $(ARGS)

.PHONY: test
test: test-deps ## run all tests
	@$(ROCKSDB) cargo test --workspace --locked $(ARGS)

.PHONY: web-test
web-test: ## walk through the pages in a browser
	@scripts/install-deps web
	@CARGO_TARGET_DIR="$$(mkdir -p "$$CARGO_TARGET_DIR" && cd "$$CARGO_TARGET_DIR" && pwd)" scripts/web-test

.PHONY: lint
lint: lint-format lint-clippy lint-docs ## check formatting, clippy and documentation

.PHONY: lint-format
lint-format:
	@cargo fmt --all --check

.PHONY: lint-clippy
lint-clippy: deps
	@$(ROCKSDB) cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: lint-docs
lint-docs: deps
	@$(ROCKSDB) RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

.PHONY: bench
bench: dist ## measure the speed of the binary that is installed
	@CAIRN="$$(cd "$$CARGO_TARGET_DIR" && pwd)/dist/cairn" scripts/bench $(ARGS)

.PHONY: proof
proof: test-deps ## run the tests with longer random and crash sweeps (slow)
	@$(ROCKSDB) CAIRN_PROOF=1 cargo test --release --workspace --locked $(ARGS)

.PHONY: install
install: deps ## install cairn into cargo's bin folder
	@$(ROCKSDB) cargo install --profile dist --locked --path crates/cairn $(ARGS)

.PHONY: deny
deny: ## check licences, duplicates and sources of the dependencies
	@command -v cargo-deny >/dev/null || { echo 'cargo-deny is missing: cargo install --locked cargo-deny@0.20.2' >&2; exit 1; }
	@cargo deny --locked check licenses bans sources
