# openpay. `make` lists what there is; `make demo` and `make test` set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(CURDIR)/.openpay/demo
LAKE ?= $(DEMO)/lake
SITE ?= $(DEMO)/cms
ROWS ?= 5000
BENCH_ROWS ?= 2000000
TEST_WORKERS ?= 3
EXTRAS ?= dev

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test lint lint-code lint-types lint-sql docs bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Create .venv with the openpay command in it

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
		"openpay needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	-@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib  # pip would compile on one core
	touch $@

demo: setup ## Simulate a CMS site, run two years of all datasets, print a summary
	@$(BIN)/python -m openpay_assets.demo --site '$(SITE)' --lake '$(LAKE)' --rows $(ROWS)

ui: setup ## Open the Dagster UI on the demo's lake (http://127.0.0.1:3000)
	@mkdir -p '$(LAKE)/.dagster' && { [ -e '$(LAKE)/.dagster/dagster.yaml' ] || cp dagster.yaml '$(LAKE)/.dagster/'; }
	OPENPAY_LAKE='$(LAKE)' OPENPAY_CMS='$(SITE)' DAGSTER_HOME='$(LAKE)/.dagster' \
		$(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1

test: setup ## Run the tests
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

lint: lint-code lint-types lint-sql ## Check formatting, lint, layers, types and SQL (make -j lint)

lint-code: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

lint-types: setup
	$(BIN)/mypy

lint-sql: setup
	$(BIN)/sqlfluff lint --disable-progress-bar dbt/models

docs: setup ## Generate the data dictionary, the rules and the checks page
	$(BIN)/python -m openpay_assets.pages docs

bench: setup ## Measure a partition against a bare conversion (BENCH_ROWS=2000000)
	$(BIN)/python tests/bench/bench.py --rows $(BENCH_ROWS)

clean: ## Remove the environment and the demo
	rm -rf $(VENV) .openpay
