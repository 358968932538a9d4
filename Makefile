# Each target installs what it lacks (scripts/install) on a fresh Debian.
.DEFAULT_GOAL := help
.PHONY: help run test faults simulate console pictures lint fmt advisories stack-up stack-down stack-clean bench

# For those whose shell has not read rustup's profile.
export PATH := $(HOME)/.cargo/bin:$(PATH)

RELEASE := $(abspath $(or $(CARGO_TARGET_DIR),target))/release

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Builds and serves in embedded mode, with demo accounts and simulated devices
	@scripts/install build
	@scripts/console
	cargo run --release --locked --bin orinoco -- serve --demo

test: ## All checks and tests, on real services started for it on free ports
	@scripts/test

faults: ## The tests of faults in full, on release builds: 1,000 kills of each type of actor under load, 100 of one of three daemons, outages of 30 s, load for 20 minutes (3 to 4 hours)
	@scripts/install build services
	@scripts/console
	cargo build --release --locked --bin orinoco --features faults
	cp $(RELEASE)/orinoco $(RELEASE)/orinoco-faults
	cargo build --release --locked --bin orinoco
	ORINOCO_TEST_BINARY=$(RELEASE)/orinoco-faults \
	ORINOCO_TEST_KILLS=$(or $(KILLS),1000) ORINOCO_TEST_MESSAGES_PER_SECOND=2000 ORINOCO_TEST_LOGINS_PER_SECOND=50 $(if $(SEED),ORINOCO_TEST_SEED=$(SEED)) \
	cargo test --locked -p orinoco --features faults --test front_door -- --nocapture --test-threads 1 kills_under_load::
	ORINOCO_TEST_BINARY=$(RELEASE)/orinoco \
	ORINOCO_TEST_KILLS=100 ORINOCO_TEST_FRAMES_BETWEEN=1000 ORINOCO_TEST_OUTAGE_S=30 \
	ORINOCO_TEST_SOAK_S=1200 ORINOCO_TEST_BROKER_KILLS=20 ORINOCO_TEST_AT_ONCE=1000 ORINOCO_TEST_ROUNDS=1000 ORINOCO_TEST_CLIENT_KILLS=30 \
	ORINOCO_TEST_SILENCE_MS_MAX=2000 ORINOCO_TEST_ANSWER_MS_MAX=11000 ORINOCO_TEST_KEEP_ALIVE_S=10 \
	ORINOCO_TEST_LOG_AWAY_S=600 ORINOCO_TEST_MESSAGES=1000000 ORINOCO_TEST_RATE=6000 \
	cargo test --locked -p orinoco --test front_door -- --nocapture --test-threads 1 crash:: data_loss:: journal_damage:: outages:: produce_retries:: sharing:: supervision:: soak:: nothing_is_lost_or_repeated login::races login::kills

console: ## Builds the web console into web/dist, for cargo to find; `run` and `test` do so by themselves
	@scripts/install build
	@scripts/console

pictures: ## Takes the pictures of docs/pictures anew, in Chromium
	@scripts/install build test
	@scripts/console
	@scripts/pictures

simulate: ## Whole daemons on models of their backends, by seeds: SEEDS=2000 of them from FIRST=0 on, or SEED=7 alone with its trace
	@scripts/install build
	$(if $(SEED),ORINOCO_SIM_SEED=$(SEED)) $(if $(SEEDS),ORINOCO_SIM_SEEDS=$(SEEDS)) $(if $(FIRST),ORINOCO_SIM_FIRST=$(FIRST)) \
	cargo test --locked --profile simulation -p orinoco-actors --features faults --test simulation -- --nocapture whatever_fails

lint: ## rustfmt, clippy, the console's compiler and linter, dependencies, docker-compose.yml, alerts
	@scripts/install test
	cargo fmt --all --check
	@scripts/check-files
	@scripts/check-compose
	@scripts/check-alerts
	@scripts/console check
	cargo deny check --hide-inclusion-graph bans licenses sources
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p orinoco-supervision -p orinoco-actors -p orinoco --features orinoco-supervision/faults,orinoco-actors/faults,orinoco/faults --all-targets -- -D warnings

fmt: ## Formats the sources
	cargo fmt --all

advisories: ## Known vulnerabilities in dependencies (fetches a git repository from GitHub)
	@scripts/install test
	cargo deny check advisories

stack-up: ## Starts PostgreSQL, two Redis, Kafka and mosquitto as local processes
	@scripts/install services
	@scripts/stack up

stack-down: ## Stops them; keeps their data in .stack/
	@scripts/stack down

stack-clean: ## Stops them and removes their data
	@scripts/stack clean

bench: ## The figures of benches/, on real services and beside peers (take a quiet machine); ONLY="name ..." for some, ONLY=--list for their names
	@scripts/install build services
	@scripts/install peers || echo "the experiments of missing peers will fail"
	cargo bench --locked -p orinoco --bench figures -- $(ONLY)
