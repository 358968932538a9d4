# Each target installs what it lacks (scripts/install) on a fresh Debian.
.DEFAULT_GOAL := help
.PHONY: help run test lint fmt advisories stack-up stack-down stack-clean bench

# For those whose shell has not read rustup's profile.
export PATH := $(HOME)/.cargo/bin:$(PATH)

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Builds and serves in embedded mode, with demo accounts and simulated devices
	@scripts/install build
	cargo run --release --locked --bin orinoco -- serve --demo

test: ## All checks and tests, on real services started for it on free ports
	@scripts/test

lint: ## rustfmt, clippy, dependencies, docker-compose.yml
	@scripts/install test
	cargo fmt --all --check
	@scripts/check-files
	@scripts/check-compose
	cargo deny check --hide-inclusion-graph bans licenses sources
	cargo clippy --workspace --all-targets -- -D warnings

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

bench: ## The figures of benches/, on real services (take a quiet machine)
	@scripts/install build services
	cargo bench --locked -p orinoco --benches
