# Each task is a tool's own command or one script: docker/ holds what builds and runs the system, tests/run/ what tests it.
# PG_MAJOR=17 chooses another PostgreSQL than the extension's default; T=NAME chooses tests by name.
.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-extension setup-lint build up down clean-data env psql check test test-extension \
	test-stories test-paths cases screenshots soak lint bench images

help: ## This list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 26

setup: ## Install what is missing to build: Debian packages, node, cargo-pgrx, a private PostgreSQL
	@docker/setup.sh

setup-test: ## The same and what the tests need: ffmpeg, nebula 1.6 and 1.11, PostgreSQL where Debian has no PG_MAJOR
	@docker/setup.sh test

setup-extension: ## The same for the tests of the extension alone
	@docker/setup.sh extension

setup-lint: ## The same for `make lint`
	@docker/setup.sh lint

build: setup ## Build console, extension, gateway, worker and nebulactl, in release
	@docker/build.sh

up: build ## Start everything on this machine, making what is not there yet (PORT, LIGHTHOUSE, NEBULA_LISTEN, NEBULA_HOME)
	@docker/up.sh

down: ## Stop what `up` started; the data stays
	@docker/down.sh

clean-data: ## Remove .nebula/: database, files, keys, passwords
	@docker/clean-data.sh

env: ## Print export lines of the running system: eval "$(make env)"
	@docker/env.sh

psql: ## Open psql in the running system's database, as administrator
	@docker/env.sh psql

check: ## What needs no database: format, clippy, unit tests; a minute once everything is compiled
	@tests/run/check.sh

test: setup-test ## Run every test, each against its own throwaway cluster; T=NAME only those of that name, of any kind
	@tests/run/test.sh

test-extension: setup-extension ## Run the extension's own tests (T=NAME, PG_MAJOR=17)
	@tests/run/extension.sh $(T)

test-stories: setup-test ## Run the tests that drive the real programs (T=NAME, PG_MAJOR=17)
	@tests/run/test.sh stories

screenshots: setup-test ## Make a picture of every page of the console, light and dark, wide and narrow: target/screenshots
	@NEBULA_PICTURES=$(CURDIR)/target/screenshots NEBULA_SHOTS=1 T=gateway::pages tests/run/test.sh stories

cases: setup-test ## Run the tests of faults from the field and print one line for each case (T=NAME): tests/cases/
	@tests/run/cases.sh $(T)

test-paths: ## Try the set-up steps in clones in unusual places, as root and with sudo; after `make test`, as root
	@tests/run/paths.sh

soak: setup-test build ## The long tests at full length: random stories, crash cycles, many agents, churn (hours)
	@tests/run/soak.sh

lint: setup-lint ## Format, clippy, documentation, module circles, shell scripts, console types
	@tests/run/lint.sh

bench: setup-test ## Run the benchmarks in release, each beside its floor and baselines (BENCH=table, variables: benches/settings.rs)
	@tests/run/bench.sh $(BENCH)

images: build ## Build the container images and start each program once
	@docker/images.sh
