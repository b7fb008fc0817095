# The two that matter: `make demo` and `make test`. Both do their own set-up on a
# Debian machine. `make help` lists the rest.

CARGO ?= cargo
UKIVM := target/release/ukivm

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-all matrix gates bench fuzz clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Install the Debian packages that images and tests need
	@images/deps

build: ## Build the program
	@command -v $(CARGO) >/dev/null || { \
	  echo "cargo not found: install Rust 1.95 or later, see https://www.rust-lang.org/tools/install" >&2; exit 1; }
	@$(CARGO) build --release --quiet --locked

demo: setup build ## Boot a real UKI to a greeting from its initrd
	@images/build demo
	$(UKIVM) run target/images/demo.efi

test: setup ## Run all tests but the long ones, 15 minutes on two cores
	@tests/run

test-all: setup ## Run all tests, the whole matrix of kernels too
	@tests/run --all

matrix: setup ## Boot every kernel, compression and maker on both engines
	@tests/run --matrix

gates: ## Run what CI runs before the tests
	@.ci/gates

bench: ## Measure: the start of a boot, and planning (benches/README.md)
	@$(CARGO) bench --locked

fuzz: ## Fuzz the parsers for a minute each (needs cargo-fuzz and a nightly toolchain)
	@cd firmware-less/fuzz && $(CARGO) run --quiet --example seeds && \
	for target in uki profiles handed addons cpio inspection signature bzimage; do \
	  $(CARGO) +nightly fuzz run --fuzz-dir . $$target -- -max_total_time=60 || exit 1; \
	done

clean: ## Remove everything built, the downloaded packages too
	rm -rf target
