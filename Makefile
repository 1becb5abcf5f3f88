# Vireo's one entry: `make demo` runs the main job, `make test` the whole gate.
# Everything that is needed and not there is installed, pinned, and said.

ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
DENO_VERSION := 2.9.5
DENO := .tools/node_modules/@deno/linux-$(ARCH)-glibc/deno
export DENO_NO_UPDATE_CHECK := 1
export DENO_NO_PROMPT := 1

ROOMS := hal drivers emu firmware examples tests
# Checked on one command line: types of one room are public in another's signatures only then.
PUBLIC := hal/mod.ts drivers/mod.ts drivers/bus/mod.ts drivers/core.ts drivers/transport/mod.ts drivers/testing/mod.ts drivers/trace/mod.ts \
	emu/mod.ts emu/backends/mod.ts emu/core.ts emu/testing/mod.ts firmware/mod.ts firmware/ip/mod.ts firmware/trace/mod.ts
# The API pages: each module whose symbols no other one repeats.
PAGES := hal/mod.ts hal/devmem/mod.ts hal/discover/mod.ts hal/host.ts hal/qtest/mod.ts hal/vhost_user/mod.ts \
	drivers/mod.ts drivers/testing/mod.ts drivers/trace/mod.ts emu/mod.ts emu/testing/mod.ts \
	firmware/mod.ts firmware/boards/mod.ts firmware/image/mod.ts firmware/ip/mod.ts firmware/trace/mod.ts
# What the tests write about themselves.
REPORT := .cache/report
RELEASES := bookworm trixie
USERS := root dev
SETUP := .tools/.setup-$(DENO_VERSION)

# What tests use of the system: QEMU's boards, a tap device's address, C compilers with what they
# only recommend, and the tools that make the disks whose contents are compared. From Debian 13 on,
# RISC-V's QEMU has a package of its own.
RISCV := $(shell . /etc/os-release; case $$ID$$VERSION_ID in (debian1[0-2]) echo qemu-system-misc ;; \
	(*) echo qemu-system-riscv ;; esac)
CROSS := $(if $(filter arm64,$(ARCH)),gcc-x86-64-linux-gnu libc6-dev-amd64-cross,\
	gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
PACKAGES := qemu-system-x86 qemu-system-arm $(RISCV) ipxe-qemu qemu-utils iproute2 e2fsprogs \
	gcc libc6-dev $(CROSS) xz-utils fdisk dosfstools exfatprogs ntfs-3g f2fs-tools erofs-utils udftools \
	xfsprogs btrfs-progs squashfs-tools cryptsetup-bin xorriso tshark chromium zsh
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help help-text setup packages qemu images fresh demo test spec check fmt lint types doc docs unit fuzz mutate soak peers bench bench-peers bench-vhost-user bench-guest clean

help:
	@echo "make demo [DISK=path]  set up and run the main job on the emulated board"
	@echo "make test              the whole gate: format, lint, types, docs, tests"
	@echo "make spec              how much of the specification is tested, by the last run of the tests"
	@echo "make fresh             slow: both commands on a minimal Debian 12 and 13, as root and as a user;"
	@echo "                       RELEASES=\"bookworm trixie\" USERS=\"root dev\" choose"
	@echo "make fuzz              slow: half an hour of hostile drivers on all device models, and half an hour of"
	@echo "                       lying devices under all drivers; SECONDS=600 SEED=7 FUZZ=models choose"
	@echo "make mutate            slow: breaks the code a place at a time, and counts what no test sees; COUNT=40"
	@echo "                       SEED=1 ROOM=drivers choose"
	@echo "make soak              slow: verified random I/O on a disk that is reset and dies, on every target; GIB=100"
	@echo "                       SEED=1 ON=\"emu threaded\" JSON=1 choose"
	@echo "make peers             slow: our drivers on DPDK's, rust-vmm's and QEMU's vhost-user devices, and"
	@echo "                       Linux's drivers on ours; ROW=vsock chooses"
	@echo "make bench             every *_bench.ts, as ratios and medians; BASE=commit compares with that commit"
	@echo "make bench-peers       slow: ours beside peers in Rust, C and JavaScript, into docs/performance.md;"
	@echo "                       WORKS=\"rng-64 net-1\" chooses, JSON=1 prints JSON"
	@echo "make bench-vhost-user  our driver and a loop in C on our devices and on others, into docs/vhost-user.md;"
	@echo "                       ROUNDS=7 chooses"
	@echo "make bench-guest       slow: our drivers against Linux's own in a guest, and how it boots"
	@echo "make fmt               format the sources in place"
	@echo "make docs              write the API pages to dist/docs/"
	@echo "make help-text         write what vireo --help prints without the parser: a test says when"
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
	  sh tools/require.sh apt-get apt $(if $(SUDO),sudo sudo) && \
	  echo "vireo: installing Debian packages for the tests:$$missing" && \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

# What setup itself needs is not for it to install.
.PHONY: npm-is-there
$(DENO): | npm-is-there
npm-is-there:
	@[ -x $(DENO) ] || sh tools/require.sh node nodejs npm npm

demo: $(SETUP)
	@./vireo demo $(if $(DISK),--blk "$(DISK)")

fmt: $(SETUP)
	$(DENO) fmt

lint: $(SETUP)
	$(DENO) fmt --check
	$(DENO) lint

# The tests are not checked again when they run.
CHECK_TYPES := check --doc $(ROOMS) bench
types: $(SETUP)
	$(DENO) $(CHECK_TYPES)

docs: $(SETUP)
	@rm -rf dist/docs && mkdir -p dist
	@$(DENO) doc --html --name=Vireo --output=dist/docs $(PAGES) >/dev/null
	@echo "vireo: dist/docs/index.html has the API pages"

doc: $(SETUP)
	$(DENO) doc --lint $(PUBLIC) >/dev/null

# A QEMU beside the host's own, where the release has an older one.
qemu: $(SETUP) packages
	@$(DENO) run -A tests/qemu/fetch.ts

# Of the guests that tests boot.
images: $(SETUP) packages
	@$(DENO) run -A tests/guest/images.ts

# The report comes last: what ran on which QEMU, and what failed.
RUN_TESTS := $(DENO) run -A tests/run/main.ts $(REPORT)
unit: $(SETUP) packages qemu images
	@$(RUN_TESTS)

# The type checker uses one processor: the others go beside it.
check: $(SETUP)
	@$(MAKE) --no-print-directory -j2 --output-sync=target types lint doc

# The type checker uses one processor for a minute: tests go beside it.
test: $(SETUP) packages
	@$(MAKE) --no-print-directory -j3 --output-sync=target images qemu lint doc
	@$(RUN_TESTS) $(CHECK_TYPES)

# By section and role, from the last run's reports; without one from the names of the tests.
spec: $(SETUP)
	@$(DENO) run -A tests/spec/main.ts

# The help that `vireo --help` prints without the parser.
help-text: $(SETUP)
	@$(DENO) run -A tests/cli/help_text.ts
	@$(DENO) fmt --quiet firmware/cli/help_text.ts

# Not part of `make test`: README's two commands on a minimal Debian 12 and a minimal Debian 13.
fresh:
	@sh tools/require.sh debootstrap debootstrap $(if $(SUDO),sudo sudo)
	@$(SUDO) sh tools/fresh.sh "$(RELEASES)" "$(USERS)"

# Not part of `make test`, which runs seconds of it. What fails is made shorter and kept in the corpus.
FUZZ := models drivers
fuzz: $(SETUP)
	@for what in $(FUZZ); do \
	  $(DENO) run -A tests/hostile/fuzz_$$what.ts --seconds $(or $(SECONDS),1800) $(if $(SEED),--seed $(SEED)) || exit 1; done

# Not part of `make test`: breaks the code, a place at a time, and reports what no test sees.
mutate: $(SETUP)
	@$(DENO) run -A tests/mutate/main.ts $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) \
	  $(foreach room,$(ROOM),--room $(room))

# Not part of `make test`, which does a GiB of it: targets and rings take turns, and each has the same part.
soak: $(SETUP)
	@$(DENO) run -A tests/blk/integrity.ts $(if $(GIB),--gib $(GIB)) $(if $(SEED),--seed $(SEED)) \
	  $(foreach on,$(ON),--on $(on)) $(if $(JSON),--json)

# Not part of `make test`: fetches and compiles the peers into .cache/peers, and says what cannot be had.
peers: $(SETUP) packages qemu
	@$(DENO) run -A tests/peers/main.ts "$(ROW)"

# With BASE the tree beside another commit, by ratios: medians of one run say nothing of another run.
bench: $(SETUP)
	$(if $(BASE),@$(DENO) run -A bench/peers/main.ts --base "$(BASE)" $(WORKS),$(DENO) bench -A $(ROOMS) bench)

bench-peers: $(SETUP)
	@$(DENO) run -A bench/peers/main.ts $(if $(WORKS),$(WORKS),--write) $(if $(JSON),--json)

bench-vhost-user: $(SETUP) packages
	@$(DENO) run -A --no-check bench/vhost_user/main.ts --write $(if $(ROUNDS),--rounds $(ROUNDS))

bench-guest: $(SETUP) packages
	$(DENO) run -A bench/boot.ts
	$(DENO) run -A bench/guest.ts

clean:
	rm -rf .tools .cache dist cov
