# One target, one or two commands. Anything that must decide something is a script or a program.

PREFIX ?= /usr/local
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run build install uninstall test soak real clients suites browser peers check bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: ## start nsqlookupd and nsqd on NSQ's ports, data in ./data; Ctrl-C stops both
	cargo build --release --package broker --package lookupd --package admin-cli
	./programs link $(TARGET)/release
	./run

build: ## build all programs for development
	cargo build --workspace
	./programs link $(TARGET)/debug

install: ## build, and put programs, manual pages and completions into PREFIX (/usr/local) below DESTDIR
	cargo build --release --package broker --package lookupd --package admin-cli
	./programs install $(TARGET)/release $(DESTDIR)$(PREFIX)

uninstall: ## take away what `make install` put there
	./programs uninstall $(DESTDIR)$(PREFIX)

test: build ## build and pass all tests, real NSQ clients and tools included
	tests/prepare real clients suites browser
	cargo test --workspace --no-fail-fast

soak: build ## the long runs of the log's tests, SOAK_SECONDS each (600)
	SOAK_SECONDS=$${SOAK_SECONDS:-600} cargo test --package tests --test ledger -- --test-threads 1
	SOAK_SECONDS=$${SOAK_SECONDS:-600} cargo test --package broker --test simulation --test damage
	SOAK_SECONDS=$${SOAK_SECONDS:-600} cargo test --package broker --lib power_cut

real: ## build the real NSQ 1.3.0 into target/real
	tests/prepare real

clients: ## install go-nsq, pynsq, nsqjs and nsq-j into target/clients
	tests/prepare clients

suites: ## build the tests that go-nsq, nsqjs and tokio-nsq ship, into target/suites
	tests/prepare suites

browser: ## install what drives Chromium into target/browser
	tests/prepare browser

peers: ## build nats-server into target/peers, for `make bench SCENARIO=peers`
	tests/prepare peers

check: ## format, lints, tests, documentation
	cargo fmt --all --check && cargo clippy --workspace --all-targets -- --deny warnings
	$(MAKE) test && RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --document-private-items

bench: ## figures beside the real nsqd; SCENARIO=publish SECONDS=5 ROUNDS=3 BACKLOG=10000000 RESULTS=folder
	tests/prepare real
	cargo build --release --workspace
	target/release/bench run $(SCENARIO) --seconds $(or $(SECONDS),4) --rounds $(or $(ROUNDS),3) --backlog $(or $(BACKLOG),2000000) --results $(or $(RESULTS),bench/results)

clean: ## remove what was built; data stays
	cargo clean
