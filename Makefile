.DEFAULT_GOAL := help
.PHONY: help setup demo serve test coverage lint types layers bench torture format

BIN := .venv/bin
NEW_ENOUGH := import sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c "$(NEW_ENOUGH)" 2> /dev/null && echo "$$name" && break; done)
WORKERS := --numprocesses logical --maxprocesses 4 --dist worksteal
KEEPING := $(addprefix tests/,unit conformance backends attachments migrations operations faults) --ignore-glob="*_kit.py"
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --editable

help: ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: .venv/.dev ## make the environment for development in .venv

demo: .venv/.demo ## hold two conversations with files over HTTP, reopen the store, print what was kept
	@$(BIN)/python -m examples.demo

serve: .venv/.demo ## run the example ChatKit server until Ctrl-C
	@$(BIN)/python -m examples.chatkit_server

test: lint types layers ## check format, lint, types and layers, then run every test
	@$(BIN)/pytest $(WORKERS)

coverage: .venv/.dev ## run the tests of what keeps data, and fail unless they take every branch of it
	@$(BIN)/coverage erase && $(BIN)/coverage run -m pytest $(WORKERS) $(KEEPING) && \
		$(BIN)/coverage combine --quiet && $(BIN)/coverage report

lint: .venv/.dev ## check format and lint
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .

types: .venv/.dev ## check types, and that every public name has one
	@$(BIN)/mypy && PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes chatstore --ignoreexternal

layers: .venv/.dev ## check who imports whom
	@$(BIN)/lint-imports

bench: .venv/.dev ## measure chatstore against the bare drivers and the plain ORM: about three minutes
	@$(BIN)/python -m benchmarks --quick

torture: .venv/.dev ## run the long forms of the tests that kill, cut, cancel, fill attack and draw at random: some hours
	@CHATSTORE_TORTURE=1 $(BIN)/pytest tests/faults tests/properties --timeout=3600 -rP

format: .venv/.dev ## format, and fix what lint can fix
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "chatstore needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c "$(NEW_ENOUGH)" || { echo "$(PYTHON) is older than Python 3.11 or has no venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv

.venv/.demo: pyproject.toml | $(BIN)/python
	@$(INSTALL) '.[demo]' && touch .venv/.demo

.venv/.dev: pyproject.toml | $(BIN)/python
	@$(INSTALL) '.[dev]' && touch .venv/.demo .venv/.dev
