# make demo   page-table entries of a real array, printed on one screen
# make lab    JupyterLab with the first tutorial, in a copy that is yours: LESSONS=DIRECTORY for another one
# make service   as root: JupyterLab and the helper for all users of this machine, in /opt/pte-magic
# make attack   fuzzing, storms and kills against helper and walkers, as root: make attack MINUTES=60 SEED=1 ONLY=storms,forks
# make examples   execute the tutorials and keep what they show, some of them in a kernel of the lab (as root)
# make man    the man page, from the parser of the command line
# make support   write README's table of which walkers work where, after make test
# make check   linters, types, and the tests that take a moment and need neither the lab nor a browser
# make test   linters, types, all tests, some of them in kernels of several Debians (as root)
# make vm     a shell in one of these kernels, KERNEL=6.12 for example; make vm-lab: JupyterLab there
# All set up what they need: packages of the system (as root), and a virtual environment in .venv.

# The system's own Python first: other users can run it too, which tests as root make use of.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
BIN := .venv/bin
PACKAGES := libbpf1 python3-venv
VM_PACKAGES := debian-archive-keyring mmdebstrap qemu-system-arm qemu-system-x86
KERNEL ?= newest

SERVICE := /opt/pte-magic
LESSONS ?= $(HOME)/pte-magic-lessons

.PHONY: demo service examples man support test all-tests check quick-1 quick-2 lint attack bench bench-vm lab screenshots vm vm-lab python system clean

test examples support bench-vm vm vm-lab: PACKAGES += $(VM_PACKAGES)
test bench screenshots: PACKAGES += chromium
test: PACKAGES += iproute2 systemd zsh

demo: .venv/demo
	@echo "Reading the page tables of a process ..."
	@$(BIN)/python examples/demo.py

# Where only root may write, as a service with privileges runs it; from a copy, so that nothing of root's is left here.
service: python system
	@test "$$(id -u)" = 0 || { echo "Only root can install for all users: type sudo make service"; exit 1; }
	@umask 022; set -e; copy=$$(mktemp -d); trap 'rm -r "$$copy"' EXIT; \
	cp -r LICENSE README.md docs hatch_build.py pyproject.toml pte_magic stap "$$copy"; \
	$(PYTHON) -m venv $(SERVICE); \
	$(SERVICE)/bin/pip install --quiet "$$copy[lab]"; \
	$(SERVICE)/bin/pte-magic install-service

examples: .venv/ready
	$(BIN)/python examples/execute.py
	$(BIN)/python tests/vm/examples.py

# As wide as any reader's, and of the day of the last change: the page is the same wherever it is made.
man: .venv/ready
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct -- pte_magic/cli) COLUMNS=80 $(BIN)/argparse-manpage \
	  --module pte_magic.cli.main_parser --function parser --project-name pte-magic --manual-title "User Commands" \
	  --description "page-table entries of running processes" --include docs/pte-magic.1.in --output docs/pte-magic.1

support: .venv/ready
	@$(BIN)/python tests/vm/support.py

# The types are checked, which takes a minute, while the tests have begun.
test: .venv/ready
	@$(MAKE) --no-print-directory --jobs=2 lint all-tests

all-tests: .venv/ready
	$(BIN)/python -m pytest

# Beside each other: each is on one processor.
check: .venv/ready
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint quick-1 quick-2

quick-1 quick-2: quick-%: .venv/ready
	PTE_MAGIC_PART=$*/2 PTE_MAGIC_TEST_SCALE=0.1 PYTHONPATH=tests $(BIN)/python -m pytest -p quick

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

attack: .venv/ready
	@MINUTES=$(MINUTES) SEED=$(SEED) ONLY=$(ONLY) ROUNDS=$(ROUNDS) $(BIN)/python tests/attack/attack.py

bench: .venv/ready
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/display_bench.py
	$(BIN)/python tests/bench/map_bench.py
	$(BIN)/python tests/bench/shared_bench.py
	$(BIN)/python tests/bench/helper_bench.py
	PAGE_TYPES=$(PAGE_TYPES) $(BIN)/python tests/bench/frames_bench.py
	$(BIN)/python tests/bench/hosts_bench.py
	$(BIN)/python tests/bench/snapshot_bench.py
	$(BIN)/python tests/bench/vars_bench.py
	$(BIN)/python tests/bench/lines_bench.py
	$(BIN)/python tests/bench/faults_bench.py

bench-vm: .venv/ready
	@$(BIN)/python tests/vm/lab.py run $(KERNEL) --timeout 1800 -- python tests/bench/stap_bench.py

lab: .venv/lab
	@test -e "$(LESSONS)" || { rm -rf "$(LESSONS).part"; cp -r examples "$(LESSONS).part"; mv "$(LESSONS).part" "$(LESSONS)"; }
	@echo "Your copy of the tutorials is $(LESSONS). For a fresh one, type make lab LESSONS=DIRECTORY, with a new directory."
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.default_url=/lab/tree/01_first_pte.ipynb "$(LESSONS)"

screenshots: .venv/ready
	$(BIN)/python tests/browser/screenshots.py

vm: .venv/ready
	@$(BIN)/python tests/vm/lab.py shell $(KERNEL)

vm-lab: .venv/ready
	@$(BIN)/python tests/vm/lab.py jupyter $(KERNEL)

# What .venv has, each more than the one before: for the demo, for the tutorials, for all else.
# Python compiles what the demo imports, which is little of all that it installs.
.venv/demo: INSTALL := --no-compile --editable .
.venv/lab: INSTALL := --editable '.[hosts,lab,parquet]'
.venv/ready: INSTALL := --editable '.[hosts,lab,libraries,test]'
.venv/demo: HAS := .venv/demo
.venv/lab: HAS := .venv/demo .venv/lab
.venv/ready: HAS := .venv/demo .venv/lab .venv/ready

# An editable install compiles the eBPF program into the tree. An install that did not end is thrown away by the next one.
.venv/demo .venv/lab .venv/ready: pyproject.toml hatch_build.py $(wildcard pte_magic/*/*.bpf.[ch] pte_magic/*/*/*.bpf.[ch]) | python system
	@if [ -e .venv/unfinished ]; then rm -r .venv; fi
	@mkdir -p .venv && touch .venv/unfinished && rm -f .venv/demo .venv/lab .venv/ready
	@echo "Making a virtual environment in .venv ..."
	@$(PYTHON) -m venv .venv
	@echo "Installing packages of Python there, and compiling the eBPF program; this takes up to a minute ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check $(INSTALL)
	@touch $(HAS) && rm .venv/unfinished

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=…")'

# What Debian and its relatives call the packages; elsewhere they are expected to be there.
system:
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=; for package in $(PACKAGES); do \
	  dpkg-query --show --showformat='$${Status}\n' $$package 2>/dev/null | grep -q 'ok installed' \
	    || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then \
	  apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $$missing; \
	else \
	  echo "Not installed, and only root can:$$missing (without libbpf1 there is no eBPF walker, without QEMU no other kernel, without Chromium no browser). Going on."; \
	fi

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name '*.bpf.o' -o -name __pycache__ | xargs rm -rf
