# Each task is a tool's own command or one script in docker/. PG_MAJOR chooses another PostgreSQL than 15.
.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-lint build up down clean-data env psql test soak lint bench images

help: ## This list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: ## Install what is missing to build: Debian packages, node, cargo-pgrx, a private PostgreSQL
	@docker/setup.sh

setup-test: ## The same and what the tests need: ffmpeg, nebula 1.6 and 1.11
	@docker/setup.sh test

setup-lint:
	@docker/setup.sh lint

build: setup ## Build console, extension, gateway, worker and nebulactl, in release
	@docker/build.sh

up: build ## Start everything on this machine, making what is not there yet (PORT, NEBULA_LISTEN, NEBULA_PG_PORT, NEBULA_HOME)
	@docker/up.sh

down: ## Stop what `up` started; the data stays
	@docker/down.sh

clean-data: ## Remove .nebula/: database, files, keys, passwords
	@docker/clean-data.sh

env: ## Print export lines of the running system: eval "$(make env)"
	@docker/env.sh

psql: ## Open psql in the running system's database, as administrator
	@docker/env.sh psql

test: setup-test ## Run every test, each against its own throwaway cluster
	@docker/test.sh

soak: setup-test build ## The long proofs at full length: random stories, crash cycles, crowds, churn (hours)
	@docker/soak.sh

lint: setup-lint ## Format, clippy, documentation, shell scripts, console types
	@docker/lint.sh

bench: build ## Run the benchmarks in release, each beside its floor and its peers (NEBULA_BENCH_SECONDS and the like: benches/settings.rs)
	@NEBULA_BIN_DIR=$(CURDIR)/target/release NEBULA_TEST_PREFIX=$(CURDIR)/target/postgresql/15 \
		cargo run --quiet --release --locked -p nebula-benches

images: build ## Build the container images and start each program once
	@docker/images.sh
