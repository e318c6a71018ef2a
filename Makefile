# `make run` and `make test` work on a fresh clone: each sets up what it needs first, and only once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-slow check format newest lowest lock e2e bench bench-gpu bench-sandbox bench-train fuzz soak \
	story story-report web web-check vsix clean

run: .venv/.installed-run
	$(BIN)/python -m acepilot.models fetch starter
	$(BIN)/python -m dev.first_run

test: .venv/.installed-dev
	$(BIN)/python -m acepilot.models fetch starter-tiny
	$(BIN)/pytest

test-slow: .venv/.installed-dev
	$(BIN)/python -m acepilot.models fetch starter
	$(BIN)/pytest -m slow

check: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python -m dev.check_docs
	$(BIN)/python -m dev.check_english

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The tests with the newest, and with the lowest, libraries that pyproject.toml allows, in an environment of their own.
newest lowest: .venv/.installed-dev
	$(BIN)/python -m acepilot.models fetch starter-tiny
	$(BIN)/python -m dev.try_versions $@

# Writes requirements/ anew after a change of pyproject.toml. LOCK=--upgrade moves everything: docs/dependencies.md.
lock: .venv/.installed-dev
	$(BIN)/python -m dev.lock $(LOCK)

# Real editors and browsers. What is not there is skipped, and says how to get it: Debian's chromium, emacs-nox with
# elpa-eglot, vim, curl, g++. The rest is fetched once: docs/editors/README.md.
e2e: .venv/.installed-dev
	$(BIN)/python -m acepilot.models fetch starter
	$(BIN)/pytest -m e2e

bench: .venv/.installed-dev
	$(BIN)/python -m acepilot.models fetch starter
	$(BIN)/python -m bench load --quick
	$(BIN)/python -m bench typing

# For whoever holds a CUDA card: random weights in CodeGen's shapes of 2.7B and 6B.
bench-gpu: .venv/.installed-dev
	$(BIN)/python -m bench gpu

# What containing a program costs, against running it bare.
bench-sandbox: .venv/.installed-dev
	$(BIN)/python -m bench sandbox

bench-train: .venv/.installed-dev
	$(BIN)/python -m bench train

# What no client should send, to both servers; and damaged files, to the readers of files that come from anybody.
fuzz: .venv/.installed-dev .venv/fuzz/bin/schemathesis
	$(BIN)/python -m bench reader-fuzz
	$(BIN)/python -m bench fuzz --schemathesis .venv/fuzz/bin/schemathesis

# Twenty developers for ten minutes, and the server killed in the middle.
soak: .venv/.installed-dev
	$(BIN)/python -m acepilot.models fetch starter
	$(BIN)/python -m bench soak

# A tune that hurts is stopped, one that helps is promoted: hours; again after a stop, it goes on. docs/story.md.
# STORY='--human-eval FOLDER' adds flags; see them and the plan: make story STORY=--dry-run
story: .venv/.installed-dev
	$(BIN)/python -m story $(STORY)

# The report of a finished story, from its results in artifacts/story.
story-report: .venv/.installed-dev
	$(BIN)/python -m story --report $(STORY)

# The committed bundles, so that users need no npm. The playground's protocol types come from the server's OpenAPI.
# web-check fails if the types or the bundles do not match their sources.
BUNDLES := server/playground eval_humaneval/runtime
PROTOCOL := $(BIN)/python -m dev.openapi | npm --prefix server/playground run protocol

web: .venv/.installed-run
	for bundle in $(BUNDLES); do (cd $$bundle && npm ci --no-audit --no-fund) || exit 1; done
	$(PROTOCOL)
	for bundle in $(BUNDLES); do (cd $$bundle && npm run build) || exit 1; done

web-check: .venv/.installed-run
	for bundle in $(BUNDLES) editors/vscode; do (cd $$bundle && npm ci --no-audit --no-fund) || exit 1; done
	$(PROTOCOL) -- --check
	for bundle in $(BUNDLES) editors/vscode; do (cd $$bundle && npm run check) || exit 1; done

# The extension for VS Code, as a file to install.
vsix:
	cd editors/vscode && npm ci --no-audit --no-fund && npm run package

clean:
	rm -rf .venv build *.egg-info

# requirements/ has the tested versions, with their hashes: docs/dependencies.md. torch's builds differ by index,
# so its hash is not locked: a torch of the locked version that is there already stays.
INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation

.venv/.installed-run: pyproject.toml requirements/run.txt .venv/.installed-pip
	$(INSTALL) --require-hashes --requirement requirements/run.txt
	$(INSTALL) --editable .
	@touch $@

.venv/.installed-dev: pyproject.toml requirements/dev.txt requirements/torch.txt .venv/.installed-pip
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements/torch.txt
	$(INSTALL) --editable .
	@touch $@ .venv/.installed-run

.venv/.installed-pip: requirements/pip.txt
	$(MAKE) --no-print-directory .venv/bin/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/pip.txt
	@touch $@

# In an environment of its own: it is a pytest plugin, too, and wants other versions than the tests.
.venv/fuzz/bin/schemathesis: .venv/bin/pip
	$(PYTHON) -m venv .venv/fuzz
	.venv/fuzz/bin/pip install --quiet --disable-pip-version-check 'schemathesis>=4.20,<5'

# pip comes last when an environment is made: without it, one that was cut short is made again.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Acepilot needs Python 3.11 or later: make PYTHON=python3.12 run")'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "This Python cannot make virtual environments: apt install python3-venv"; exit 1; }
