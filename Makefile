# `make run` shows the project at work; `make help` lists the rest.

PROFILE ?= dev
CARGO_TARGET_DIR ?= target
ENVOY ?= .cache/envoy/envoy
BINARIES := $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.PHONY: help
help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: run
run: build envoy ## istiod, stock Envoys and a small shop on this machine; ends with Ctrl-C
	@$(BINARIES)/demo --config samples/shop --envoy $(ENVOY)

.PHONY: check-demo
check-demo: build envoy ## what `make run` promises, checked without a person, in less than a minute
	@$(BINARIES)/demo --check --config samples/shop --envoy $(ENVOY)

.PHONY: build
build: ## the binaries, into $(BINARIES); PROFILE=release for measurements
	@cargo build --profile $(PROFILE) --package istiod --package shop

.PHONY: envoy
envoy: ## the stock Envoy, into .cache/envoy; ENVOY=/path/to/envoy uses another one
ifeq ($(ENVOY),.cache/envoy/envoy)
	@python3 tools/envoy.py
endif

.PHONY: kube
kube: ## a real Kubernetes for the tests, into .cache/kube (minutes the first time): an API server, and what else this machine can run
	@tests/kube/build.py $$(tests/kube/cluster/preflight >/dev/null 2>&1 && echo cluster) || [ $$? = 3 ]

.PHONY: cluster
cluster: envoy ## the charts and a shop on a real cluster of one node, under load (two minutes); says if this machine cannot
	@cargo build --package istiod --package agent --package shop
	@ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --quiet --package testkit --test cluster -- --ignored --nocapture

.PHONY: test
test: envoy kube ## everything, real Envoys included; CASE=gateway/ takes the cases whose name contains that
	@ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --workspace --no-fail-fast
	@ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --quiet --workspace --test cluster -- --ignored --nocapture # as in `make cluster`
	@$(BINARIES)/demo --check --config samples/shop --envoy $(ENVOY) # the programs are those that the tests were built with

.PHONY: soak
soak: build envoy kube ## what takes longer: 100 orders of every case's objects, the cases of load five times, everything rotating among twenty Envoys, ten demos in a row, three rounds under load
	@ROUNDS=100 cargo test --quiet --package testkit --test incremental
	@SOAK=1 ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --quiet --package testkit --test mistakes
	@for round in 1 2 3 4 5; do SOAK=1 CASE=load/ ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --quiet --package testkit --test envoy || exit 1; done
	@SOAK=1 ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --quiet --package testkit --test vhds
	@SOAK=1 ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --quiet --package istiod --test outage -- --nocapture
	@cargo build --package agent
	@ENVOY_BINARY=$(abspath $(ENVOY)) cargo test --quiet --package istiod --test rotation_under_load -- --ignored --nocapture
	@for round in 1 2 3 4 5 6 7 8 9 10; do $(BINARIES)/demo --check --config samples/shop --envoy $(ENVOY) || exit 1; done
	@cargo build --release --package istiod --package ads-load
	@ISTIOD_BINARY=$(abspath $(CARGO_TARGET_DIR))/release/istiod cargo test --quiet --package testkit --test kube_scale --test kube_load -- --ignored --nocapture --test-threads=1
	@$(MAKE) --no-print-directory cluster
	@for round in 1 2 3; do python3 tools/bench.py --binaries $(CARGO_TARGET_DIR)/release --changes 5 --virtual-service-changes 2 || exit 1; done

SECONDS ?= 60
SEED := $(or $(SEED),$(shell date +%s))

.PHONY: fuzz
fuzz: ## random CSRs, tokens, keys, messages, credentials and nodes: SECONDS=60 for each; SEED=… repeats a run
	@echo "SEED=$(SEED)"
	@FUZZ_SECONDS=$(SECONDS) FUZZ_SEED=$(SEED) cargo test --quiet --package ca --test random -- --nocapture
	@FUZZ_SECONDS=$(SECONDS) FUZZ_SEED=$(SEED) cargo test --quiet --package xds --test random_nodes -- --nocapture
	@FUZZ_SECONDS=$(SECONDS) FUZZ_SEED=$(SEED) cargo test --quiet --package model --test random_credentials -- --nocapture

.PHONY: bless
bless: ## accepts what is generated now as what the cases expect (tests/cases/*/*/expected); look at the difference
	@BLESS=1 cargo test --quiet --package testkit --test golden
	@git --no-pager diff --stat -- tests/cases

.PHONY: crds
crds: ## writes crds/ from the types of the API
	@BLESS=1 cargo test --quiet --package istio-api --test crds
	@git --no-pager diff --stat -- crds

.PHONY: bench
bench: kube ## what istiod costs: a release build under load, from files and from an API server, then each stage alone; docs/performance.md explains the figures
	@cargo build --release --package istiod --package ads-load
	@python3 tools/bench.py --binaries $(CARGO_TARGET_DIR)/release
	@ISTIOD_BINARY=$(abspath $(CARGO_TARGET_DIR))/release/istiod cargo test --quiet --package testkit --test kube_load -- --ignored --nocapture
	@cargo bench --package xds --bench turn

.PHONY: fmt
fmt: ## formats all Rust
	@cargo fmt --all

.PHONY: lint
lint: ## what a change must pass besides its tests
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- --deny warnings
