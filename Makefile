# The two that matter: `make demo` and `make test`. Both do their own set-up on a
# Debian machine. `make help` lists the rest.

CARGO ?= cargo
UKIVM := target/release/ukivm

# Where `make install` puts things; DESTDIR goes before it, for makers of packages.
PREFIX ?= /usr/local
STAGED := target/package

.DEFAULT_GOAL := help
.PHONY: help setup build package install uninstall dist reproducible demo test test-all matrix oracle gates \
  bench fuzz coverage mutants clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Install the Debian packages that images and tests need
	@images/deps

build: ## Build the program, static, as it is shipped
	@command -v $(CARGO) >/dev/null || { \
	  echo "cargo not found: install Rust 1.95 or later, see https://www.rust-lang.org/tools/install" >&2; exit 1; }
	@src/packaging/release $(UKIVM)

package: $(STAGED)/.made ## Make what `make install` installs: program, man pages, completions

# Only what is older than its sources is made, so that installing needs no cargo after
# `make package`.
$(STAGED)/.made: Makefile Cargo.toml Cargo.lock $(shell find src firmware-less/src -type f)
	@$(MAKE) --no-print-directory build
	@rm -rf $(STAGED)
	@$(CARGO) run --quiet --locked --package ukivm-packaging -- install $(STAGED)
	@install -D $(UKIVM) $(STAGED)/bin/ukivm
	@touch $@

install: package ## Install under PREFIX, /usr/local if not given
	@cd $(STAGED) && find bin share -type f | while read -r file; do \
	  case $$file in bin/*) mode=755 ;; *) mode=644 ;; esac; \
	  install -D -m $$mode "$$file" "$(DESTDIR)$(PREFIX)/$$file" || exit 1; \
	done

uninstall: ## Remove what `make install` installed
	@cd "$(DESTDIR)$(PREFIX)" && rm -f bin/ukivm share/man/man1/ukivm.1 share/man/man1/ukivm-*.1 \
	  share/man/man7/ukivm-*.7 share/ukivm/*.schema.json \
	  share/bash-completion/completions/ukivm share/fish/vendor_completions.d/ukivm.fish \
	  share/zsh/site-functions/_ukivm

dist: package ## Make what is given on, in target/dist: Debian package, tarball, SBOM, checksums
	@src/packaging/dist $(STAGED) target/dist

reproducible: ## Build the program that is committed twice, in two folders, and compare
	@src/packaging/reproducible

demo: setup build ## Boot a real UKI to a greeting from its initrd
	@images/build demo
	$(UKIVM) run target/images/demo.efi

test: setup ## Run all tests but the long ones: 15 to 25 minutes on two cores
	@tests/run

test-all: setup ## Run all tests, the whole matrix of kernels too
	@tests/run --all

matrix: setup ## Boot every kernel, compression and maker on both engines
	@tests/run --matrix

oracle: setup ## Ask real kernels anew what kexec hands over, and keep what they did
	@images/build kernels
	@UKIVM_ORACLE=all $(CARGO) test --quiet --locked --test main -- oracle::every_hand_off

gates: ## Run what CI runs before the tests
	@.ci/gates

bench: ## Measure: the start of a boot, and planning (benches/README.md)
	@src/packaging/release target/shipped/ukivm
	@$(CARGO) bench --locked --bench boot -- --program target/shipped/ukivm
	@$(CARGO) bench --locked --bench plan

fuzz: ## Fuzz every parser and device, ten million runs or ten minutes each (tests/fuzz/README.md)
	@tests/fuzz/run

coverage: setup ## Count the lines that tests reach, hold them to .ci/coverage.floor
	@.ci/coverage --whole

mutants: ## Change firmware-less in every way that its tests should notice (needs cargo-mutants; hours)
	@$(CARGO) mutants --package firmware-less

clean: ## Remove everything built, the downloaded packages too
	rm -rf target
