# On a fresh clone with Python 3.11 or newer:  make demo   then   make ui
# Everything is installed into .venv, every result is written to var/.

VENV ?= .venv
PY   := $(VENV)/bin/python
PIP  := $(PY) -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes

# The first interpreter that really runs: a version manager's shim may exist and still refuse.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)

TRACKING_URI ?= sqlite:///var/mlflow.db
PORT         ?= 5000
PAPER_ARGS   ?=
REHEARSE_ARGS ?=
CALIBRATE_ARGS ?=
DEMO_ARGS    ?= --asset BTCUSDT --timeframe 1h --candles synthetic --max-trials 8 --jobs 2

export MLFLOW_DISABLE_TELEMETRY = true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION = false

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo ui notebooks paper rehearse calibrate test testsdk torture check bench layer schema lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## a whole discovery campaign on an embedded, synthetic market
	@mkdir -p var
	MLFLOW_TRACKING_URI=$(TRACKING_URI) $(PY) -m training.model_validator $(DEMO_ARGS)

ui: $(VENV)/.installed ## the MLflow UI on what demo left in var/
	@test -d var || { echo "There is no var/ yet: run 'make demo' first." >&2; exit 1; }
	@echo "MLflow on http://127.0.0.1:$(PORT) (Ctrl-C stops it)"
	@$(PY) -m mlflow ui --backend-store-uri $(TRACKING_URI) --host 127.0.0.1 --port $(PORT) --workers 1

notebooks: $(VENV)/.installed-notebooks ## JupyterLab on notebooks/, which read what demo left in var/
	@test -d var || { echo "There is no var/ yet: run 'make demo' first." >&2; exit 1; }
	@MLFLOW_TRACKING_URI=sqlite:///$(CURDIR)/var/mlflow.db $(PY) -m jupyterlab notebooks

paper: $(VENV)/.installed ## trade what is in Staging with virtual money (PAPER_ARGS="--market binance")
	@test -d var || { echo "There is no var/ yet: run 'make demo' first." >&2; exit 1; }
	@MLFLOW_TRACKING_URI=$(TRACKING_URI) $(PY) -m serving paper $(PAPER_ARGS)

rehearse: $(VENV)/.installed ## two years of the whole system, with faults (REHEARSE_ARGS="--candles PATH")
	@mkdir -p var
	@$(PY) -m rehearsal $(REHEARSE_ARGS)

calibrate: $(VENV)/.installed ## hours: how often campaigns find what is not there (CALIBRATE_ARGS="--candles PATH")
	@$(PY) -m training.calibration --write var/calibration $(CALIBRATE_ARGS)

test: $(VENV)/.installed-dev ## all tests but the torturing ones
	@$(PY) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

torture: $(VENV)/.installed-dev ## the tests that take minutes, and many more property examples
	@$(PY) -m pytest -m "torture or not torture" --hypothesis-profile torture

testsdk: $(VENV)-sagemaker/.installed ## the launcher on the SageMaker SDK (1.1 GB, an environment of its own)
	@$(VENV)-sagemaker/bin/python -m pytest tests/sagemaker_sdk

check: $(VENV)/.installed-dev ## lint, format, types, import contracts, schema
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(PY) -m strategy.config_schema | diff -u config.schema.json - \
		|| { echo "config.schema.json is out of date: run 'make schema'." >&2; exit 1; }

bench: $(VENV)/.installed-bench ## the benchmarks; each prints ratios from one run
	@for file in benchmarks/[a-z]*.py; do name=$$(basename $$file .py); \
		echo "== $$name"; $(PY) -m benchmarks.$$name || exit 1; done

layer: $(VENV)/.installed-dev ## build Lambda's layer with python3.12; on Linux, prove every handler on it
	@$(PY) -m infra.layer build
	@$(PY) -m infra.layer check

schema: $(VENV)/.installed ## write config.schema.json from the types in strategy/config.py
	$(PY) -m strategy.config_schema > config.schema.json

COMPILE = uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock"

lock: ## resolve pyproject.toml into the requirements files (needs uv)
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) --group dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) --group bench -c requirements.txt -c requirements-dev.txt -o requirements-bench.txt
	$(COMPILE) --group notebooks -c requirements.txt -c requirements-dev.txt -o requirements-notebooks.txt
	$(COMPILE) --group sagemaker -o requirements-sagemaker.txt
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --group scan -o requirements-scan.txt
	uv pip compile --quiet --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
		--only-binary :all: --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --group layer -c requirements.txt \
		-o infra/requirements-layer.txt

clean: ## remove the virtual environment and caches; var/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './var/*' -prune -exec rm -rf {} +

# Stamp files: an environment is installed once for every state of its requirements.

$(PY):
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one," \
		"or say 'make PYTHON=/path/to/python'." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual" \
		"environments: on Debian or Ubuntu, apt-get install python3-venv." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(PY)
	@echo "Installing into $(VENV) with $$($(PY) --version); this takes a minute or two the first time."
	@$(PIP) -r requirements.txt
	@$(PY) -c 'import lightgbm' || { echo "LightGBM cannot be loaded." \
		"It needs the OpenMP runtime: apt-get install libgomp1 (Debian, Ubuntu)," \
		"dnf install libgomp (Fedora, Amazon Linux), brew install libomp (macOS). Then repeat." >&2; exit 1; }
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the development tools."
	@$(PIP) -r requirements.txt -r requirements-dev.txt
	@touch $@

$(VENV)-sagemaker/.installed: requirements-sagemaker.txt | $(PY)
	@echo "Installing the SageMaker SDK into $(VENV)-sagemaker."
	@$(PYTHON) -m venv $(VENV)-sagemaker
	@$(VENV)-sagemaker/bin/python -m pip install --quiet --disable-pip-version-check \
		--only-binary :all: --require-hashes -r requirements-sagemaker.txt
	@touch $@

$(VENV)/.installed-notebooks: requirements-notebooks.txt $(VENV)/.installed
	@echo "Installing JupyterLab."
	@$(PIP) -r requirements.txt -r requirements-notebooks.txt
	@touch $@

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed
	@echo "Installing the benchmarks' rivals."
	@$(PIP) -r requirements.txt -r requirements-bench.txt
	@touch $@
