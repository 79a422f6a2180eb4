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
