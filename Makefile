# Each target works from a fresh clone with python3, pip and make.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint bench performance reference screenshots lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## Value the sample book, correct a price in the past, revalue, verify, draw (2 minutes)
	$(BIN)/revalue demo

test: .venv/installed ## Run the whole suite, on a PostgreSQL and a Ray of its own (10 to 15 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: .venv/installed ## Run the tests that need neither Ray nor a browser (90 seconds)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/integration -m 'not slow'

lint: .venv/installed ## Check style, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed ## Measure a backfill beside its baselines (5 minutes)
	$(BIN)/revalue bench backfill --positions 1000 --dates 250 --runs 3 \
		--baselines upper-bound,sql,per-job

performance: .venv/installed ## Measure all of docs/performance.md again (20 minutes on two quiet cores)
	$(BIN)/python -m revalue.benchmarks.suite
	$(BIN)/python -m revalue.benchmarks.report

reference: .venv/installed ## Make the reference of the Python API, as HTML in build/reference
	$(BIN)/pdoc --output-directory build/reference --no-show-source \
		revalue.engine.book revalue.engine.runtime revalue.engine.errors \
		revalue.engine.settings revalue.engine.correct.corrections revalue.engine.correct.ingest \
		revalue.engine.preview.preview revalue.engine.read.explain revalue.engine.operate.status

screenshots: .venv/installed ## Make docs/console-*.png again, in Chromium
	$(BIN)/python -m tests.web.screenshots

lock: ## Write requirements.txt, the exact versions of everything, from pyproject.toml
	$(BIN)/pip-compile --quiet --extra dev --extra chart --extra serve --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-annotate --no-header \
		--output-file requirements.txt pyproject.toml

clean: ## Remove what the other targets made
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
