# Everything that a laptop or CI runs. `make` lists the targets. GNU make and a POSIX sh; needs Python 3.11 or newer.
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

BIN := .venv/bin
PY := $(BIN)/python
LOCAL := .venv-local/bin
PORT ?= 8080
WORKERS ?= 2
# Tests that open real adapters: a store, a log, a model, a subprocess.
COMPONENT_TESTS := $(addprefix runtimes/lectern_runtime_tests/,adapters embed ingest maintain query) \
	$(addprefix runtimes/lectern_cli_tests/,test_dead_letters.py test_generations.py \
	test_main.py test_withdrawal.py)
QUICKSTART := -f config/samples/quickstart --mount lectern-guides=docs/guides
# More for the command at hand: make demo ARGS=--verbose, make unit ARGS='-k names'
ARGS ?=

.PHONY: help setup demo-env demo page test lint types imports secrets generated size unit components testbed \
	integration coverage fmt generate lock lock-check images node-smoke bench-skeleton bench-operator bench-ingest \
	faults-operator faults-ingest clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## --- environments: stamps make a second run free -----------------------------------------------------------------
setup: .venv/.project ## install the development environment (.venv) from the locks

demo-env: .venv-local/.project ## install the embedded mode alone (.venv-local) from its lock

.tools/.installed: requirements/bootstrap.txt
	@sh tools/setup.sh bootstrap .tools
	@touch $@

.venv/.packages: requirements/dev.txt | .tools/.installed
	@sh tools/setup.sh packages .venv requirements/dev.txt
	@touch $@

.venv-local/.packages: requirements/local.txt | .tools/.installed
	@sh tools/setup.sh packages .venv-local requirements/local.txt
	@touch $@

.venv/.project .venv-local/.project: %/.project: %/.packages pyproject.toml requirements/build.txt
	@sh tools/setup.sh project $*
	@touch $@

## --- what a newcomer runs ----------------------------------------------------------------------------------------
demo: demo-env ## ingest Lectern's own guides on this machine and answer 29 questions about them
	@$(LOCAL)/lectern demo $(QUICKSTART) --questions config/samples/quickstart/questions.yaml $(ARGS)

page: demo-env ## keep serving the quickstart on PORT (8080): query API, page, metrics
	@$(LOCAL)/lectern up $(QUICKSTART) --port $(PORT) $(ARGS)

test: setup ## everything that CI runs: lint to integration, stops at the first failure
	@sh tools/steps.sh "$(MAKE)" test lint types imports secrets generated size unit components testbed integration

## --- the steps of `make test`, each by itself -----------------------------------------------------------------------
lint: setup ## ruff: rules and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "lint: the files above are not formatted; run make fmt"; exit 1; }

types: setup ## mypy, strict
	@$(BIN)/mypy

imports: setup ## import contracts (.importlinter)
	@PYTHONPATH=operator:runtimes $(BIN)/lint-imports --no-logo

secrets: setup ## no key, token or password in the tree
	@$(PY) -m tools.secret_scan

generated: setup ## generated files are what the models say
	@$(PY) -m lectern_operator.generate --check
	@$(PY) -m tools.openapi --check
	@$(PY) -m tools.metrics_reference --check

size: setup ## file and function sizes against their targets (a report, never a failure)
	@$(PY) -m tools.size_report

unit: setup ## pure parts by table and property, transitions of the operator: seconds
	@$(PY) -m tools.again unit -n $(WORKERS) operator runtimes tools_tests $(COMPONENT_TESTS:%=--ignore=%) $(ARGS)

components: setup ## contract suites of the adapters, worker and query API on real ones, kills
	@$(PY) -m tools.again components -n $(WORKERS) $(COMPONENT_TESTS) $(ARGS)

testbed: setup ## build the real kube-apiserver and friends once, cached outside the repository
	@$(PY) -m e2e.testbed.build

integration: testbed ## journeys against the real components
	@$(PY) -m tools.again integration -n 0 e2e $(ARGS)

coverage: testbed ## what all tests cover (runs them again, measured: several minutes)
	@$(BIN)/pytest -q -n $(WORKERS) --cov --cov-report= operator runtimes tools_tests
	@$(BIN)/pytest -q -n 0 --cov --cov-append --cov-report= e2e
	@$(BIN)/coverage report --sort=cover --format=text

## --- while working --------------------------------------------------------------------------------------------------
fmt: setup ## format, and fix what ruff can fix
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

generate: setup ## write the generated files (crds/, reference)
	@$(PY) -m lectern_operator.generate $(ARGS)
	@$(PY) -m tools.openapi $(ARGS)
	@$(PY) -m tools.metrics_reference $(ARGS)

lock: .tools/.installed ## write requirements/*.txt from pyproject.toml (UPGRADE=1 takes the newest versions)
	@sh tools/lock.sh

lock-check: .tools/.installed ## the locks are what pyproject.toml asks for (needs the package index)
	@sh tools/lock.sh --check

images: ## build the four images with buildah: operator, worker, ingest, query (REGISTRY=, TAG=, BASE=)
	@sh tools/images.sh $(ARGS)

node-smoke: testbed ## images, chart and pods on a real node, once (needs root and NODE_RECIPE, see docs/node-smoke.md)
	@PYTHONPATH=.:operator:runtimes $(PY) -m e2e.node_smoke $(ARGS)

bench-skeleton: setup ## the figures of the embedded mode, each with its floor
	@$(PY) -m bench.skeleton $(ARGS)

bench-operator: testbed ## how soon the operator rests, and two thousand resources: rates, writes, memory
	@$(PY) -m bench.operator $(ARGS)

bench-ingest: testbed ## ingestion: rates, memory, second pass, changes, chunkers, parsers, poison, freshness
	@$(PY) -m bench.ingest $(ARGS)

faults-operator: testbed ## crashes, lost events, stale views, API faults, mutations: do all end well? (QUICK=1, SEED=)
	@$(PY) -m e2e.faults $(ARGS)

faults-ingest: testbed ## kills, lost commits, late writes, rebalances, slow stores: does the index say what the log says? (QUICK=1, SEED=)
	@$(PY) -m e2e.ingest_faults $(ARGS)

clean: ## remove caches, reports and coverage data
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache reports dist .coverage .coverage.* htmlcov
	@find . -path ./.git -prune -o -name .venv -prune -o -name .venv-local -prune -o -name .tools -prune \
		-o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## clean, and remove the environments
	@rm -rf .venv .venv-local .tools
