# demo, test, lint and bench each work from a fresh clone with python3, pip and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench performance reference screenshots lock clean

demo: .venv/installed
	$(BIN)/revalue demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/revalue bench backfill --keys 1000 --dates 250 --runs 3 --peers ceiling,sql,per-job

# All of docs/performance.md, about twenty minutes on two quiet cores.
performance: .venv/installed
	$(BIN)/python -m revalue.benchmarks.suite
	$(BIN)/python -m revalue.benchmarks.report

# The public Python API from its docstrings, as HTML.
reference: .venv/installed
	$(BIN)/pdoc --output-directory build/reference --no-show-source engine.book engine.runtime engine.corrections engine.preview \
		engine.explain engine.ingest engine.errors engine.settings engine.store.reports

# docs/console-*.png, of the live console in Chromium.
screenshots: .venv/installed
	$(BIN)/python -m tests.web.screenshots

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

lock:
	$(BIN)/pip-compile --quiet --extra dev --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --no-annotate --no-header --output-file requirements.txt pyproject.toml

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
