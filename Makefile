# Vireo's one entry: `make demo` runs the main job, `make test` the whole gate.
# Everything that is needed and not there is installed, pinned, and said.

ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
DENO_VERSION := 2.9.5
DENO := .tools/node_modules/@deno/linux-$(ARCH)-glibc/deno
export DENO_NO_UPDATE_CHECK := 1
export DENO_NO_PROMPT := 1

ROOMS := hal drivers emu firmware examples
# Checked on one command line: types of one room are public in another's signatures only then.
PUBLIC := hal/mod.ts drivers/mod.ts drivers/testing/mod.ts emu/mod.ts emu/testing/mod.ts firmware/mod.ts
# What the tests write of themselves.
REPORT := .cache/report
SETUP := .tools/.setup-$(DENO_VERSION)

# What tests use of the system: QEMU's boards, and a tap device's address.
PACKAGES := qemu-system-x86 qemu-system-arm qemu-system-misc qemu-utils iproute2 e2fsprogs \
	gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help setup packages demo test check fmt lint doc unit bench bench-guest clean

help:
	@echo "make demo [DISK=path]  set up and run the main job on the emulated board"
	@echo "make test              the whole gate: format, lint, types, docs, tests"
	@echo "make bench             every *_bench.ts, as ratios and medians"
	@echo "make bench-guest       slow: our drivers against Linux's own in a guest, and how it boots"
	@echo "make fmt               format the sources in place"
	@echo "make setup             install the pinned Deno and the dependencies only"
	@echo "make clean             remove what setup, tests and caches made"

# The pinned Deno comes from npm; its binary is the optional dependency of this architecture.
$(DENO): tools/package.json tools/package-lock.json
	@echo "vireo: installing Deno $(DENO_VERSION) from npm into .tools/"
	@mkdir -p .tools && cp tools/package.json tools/package-lock.json .tools/
	@npm ci --prefix .tools --ignore-scripts --no-audit --no-fund --loglevel=error
	@test "$$($(DENO) --version | awk 'NR==1{print $$2}')" = $(DENO_VERSION)
	@touch $(DENO)

$(SETUP): $(DENO) deno.json deno.lock
	@echo "vireo: fetching the dependencies of deno.lock"
	@$(DENO) ci --quiet
	@touch $(SETUP)

setup: $(SETUP)

# Debian's own versions: a pinned one vanishes from the mirrors with the next security update.
packages:
	@missing=""; for p in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "vireo: installing Debian packages for the tests:$$missing"; \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

demo: $(SETUP)
	@./vireo demo $(if $(DISK),--blk "$(DISK)")

fmt: $(SETUP)
	$(DENO) fmt

lint: $(SETUP)
	$(DENO) fmt --check
	$(DENO) lint
	$(DENO) check --doc $(ROOMS) bench .ci/test_report.ts .ci/test_limit.ts

doc: $(SETUP)
	$(DENO) doc --lint $(PUBLIC) >/dev/null

# The report comes last: what failed, and the table of what the drivers were tested on.
unit: $(SETUP) packages
	@mkdir -p $(REPORT) && rm -f $(REPORT)/*
	$(DENO) test -A --doc --parallel --preload .ci/test_limit.ts --junit-path=$(REPORT)/tests.xml $(ROOMS); code=$$?; \
	  $(DENO) run -A .ci/test_report.ts $(REPORT)/tests.xml $(REPORT)/matrix.md || code=1; exit $$code

check: lint doc

test: check unit

bench: $(SETUP)
	$(DENO) bench -A $(ROOMS)

bench-guest: $(SETUP) packages
	$(DENO) run -A bench/boot.ts
	$(DENO) run -A bench/guest.ts

clean:
	rm -rf .tools .cache dist cov
