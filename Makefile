# `make demo` trains and searches, `make ui` runs the factory, `make test` tests. All set up what they need first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo ui monitor-ui study test test-slow bench-service pictures lint clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

setup: $(VENV)/.installed ## make the virtual environment and install the locked versions

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "unimr needs Python 3.11 or 3.12, and $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@command -v git >/dev/null || { echo "unimr needs git, which is not installed. Install it and run the same command again."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m unimr.evaluation.plots_page
	@touch $@

demo: setup ## run the whole pipeline on the default catalogue, then search
	@[ -d .git ] || { echo "DVC needs a git checkout: clone the project instead of copying its files."; exit 1; }
	dvc repro
	unimr search "gato feliz" --sheet results.png
	@echo
	@echo "The contact sheet is results.png; the report is reports/evaluation/index.html. Next, try:"
	@echo "  source $(BIN)/activate"
	@echo "  unimr search \"zeig mir bitte eine winkende Hand mit dunkler Hautfarbe\""
	@echo "  unimr search \"面白い顔\" --filter style=openmoji --sheet results.png"
	@echo "  unimr --help"

ui: setup ## the factory: schedules, runs and their history in a web page, until Ctrl-C
	@exec python -m flows.ui

monitor-ui: setup ## all looks at the traffic in Evidently's pages, until Ctrl-C
	@[ -d reports/monitoring/workspace ] || { echo "There is no look at traffic yet: run unimr serve, ask something, then unimr monitor."; exit 1; }
	@echo "http://127.0.0.1:8001"
	@exec evidently ui --workspace reports/monitoring/workspace --host 127.0.0.1 --port 8001

study: setup ## the claims put to the test: variants and peers at the same budget, five seeds (an hour or two)
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-study.lock
	dvc repro fetch
	unimr study

test: setup ## run the tests, two files at a time with a thread each (minutes)
	UNIMR_THREADS=1 python -m pytest --numprocesses 2 --no-loadscope-reorder

test-slow: setup ## run the long tests too: a hundred kills
	python -m pytest -m "slow or not slow"

pictures: setup ## make docs/pictures anew (needs Chromium and, for the search page and the report, `make demo`; minutes)
	python -m pytest tests/system/test_browser.py tests/service/test_page_pictures.py tests/monitoring/test_report_picture.py \
	  -m "slow or not slow" --pictures docs/pictures

bench-service: setup ## measure what `unimr serve` bears, with the model of `make demo` (minutes; leave the machine alone)
	python -m tests.bench.service

lint: setup ## ruff and mypy
	ruff check unimr flows tests
	ruff format --check unimr flows tests
	mypy unimr flows

clean: ## remove what the pipeline made; the DVC cache and the environment stay
	rm -rf .work models published data/raw data/prepared data/validated data/embeddings reports results.png
