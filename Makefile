# Each target installs what it lacks (scripts/install) on a fresh Debian.
.DEFAULT_GOAL := help
.PHONY: help run test lint fmt stack-up stack-down stack-clean bench advisories

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

stack-up: ## Starts PostgreSQL, two Redis, Kafka and mosquitto as local processes
	@scripts/install services
	@scripts/stack up

stack-down: ## Stops them; keeps their data in .stack/
	@scripts/stack down

stack-clean: ## Stops them and removes their data
	@scripts/stack clean
