# Two commands matter: `make lab` opens JupyterLab on the tour, `make test` runs every check.
# Each makes what it needs, once; .stamps remembers.

.DEFAULT_GOAL := help
.PHONY: help lab test lint format run bench soak journey scale chaos api js system clean
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
# What the built JavaScript and the installed metadata depend on.
SOURCES := pyproject.toml hatch_build.py package.json package-lock.json install.json \
  $(shell find labextension/src labextension/style labextension/schema kernelspec jupyter-config -type f) \
  labextension/rspack.config.js

help:
	@echo "make lab                 JupyterLab on the tour notebook, with the panel (ARGS=... for jupyter lab)"
	@echo "make test                all checks and tests (ARGS=... for pytest; NO_SKIPS=1: a skip is a failure)"
	@echo "make run NB=file.ipynb   a notebook, headless, in the terminal (ARGS='--output out.ipynb')"
	@echo "make bench               Shoal and its peers, measured; writes docs/benchmarks.md"
	@echo "make soak                a million tasks in one session: rate and memory (ARGS='--tasks N')"
	@echo "make scale               one pool with 8 to 8,192 managers connected (ARGS='--managers 64,512')"
	@echo "make chaos               tasks under fire: parts of a pool are killed at random (SEEDS='1 2 3' TASKS=100000)"
	@echo "make journey             what each step of one task costs"
	@echo "make lint | format       the checks without the tests | let ruff lay out the code"
	@echo "make api | js            labextension/src/api.ts from the Python types | the JavaScript, built and installed"
	@echo "make clean               remove what was built (.venv and node_modules, too)"

# ---------------------------------------------------------------- environments

.stamps/lab: $(SOURCES)
	@mkdir -p .stamps
	$(PYTHON) tools/environment.py lab,tour
	@touch $@

# Everything for tests; it is an environment for the lab as well.
.stamps/test: $(SOURCES) .stamps/npm
	@mkdir -p .stamps
	$(PYTHON) tools/environment.py test
	@touch $@ .stamps/lab

.stamps/npm: package.json package-lock.json
	@mkdir -p .stamps
	@command -v npm >/dev/null || { echo "npm is not on the PATH. Fix: install Node.js 20 or newer (https://nodejs.org)."; exit 1; }
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# Quick where a browser is there, so it needs no stamp; where the installation failed, it is tried again.
system:
	@$(PYTHON) tools/system_packages.py

# ---------------------------------------------------------------- what people call

lab: .stamps/lab
	@exec $(BIN)/python tools/lab.py $(ARGS)

test: .stamps/test system
	@$(BIN)/python tools/check.py $(if $(NO_SKIPS),--no-skips) $(ARGS)

lint: .stamps/test
	@$(BIN)/python tools/check.py --lint-only

format: .stamps/test
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

run: .stamps/lab
	@test -n "$(NB)" || { echo "Say which notebook: make run NB=binder/00-tour.ipynb"; exit 2; }
	@$(BIN)/python tools/run_notebook.py "$(NB)" $(ARGS)

bench: .stamps/lab
	@$(BIN)/python -m benchmarks $(ARGS)

soak: .stamps/lab
	@$(BIN)/python -m benchmarks.soak $(ARGS)

scale: .stamps/lab
	@$(BIN)/python -m benchmarks.scale $(ARGS)

# Without SEEDS it is one, drawn anew.
chaos: .stamps/test
	@SHOAL_CHAOS_SEEDS="$(SEEDS)" SHOAL_CHAOS_TASKS="$(or $(TASKS),20000)" SHOAL_CHAOS_ADDRESS="$(ADDRESS)" $(BIN)/python -m pytest -q -s tests/integration/test_chaos.py

journey: .stamps/lab
	@$(BIN)/python -m benchmarks.journey

api: .stamps/test
	$(BIN)/python tools/make_api.py

js: .stamps/test

clean:
	rm -rf .venv .bench-venv .stamps node_modules dist build labextension/shoal_lab/labextension \
	  kernel/shoal_kernel/static/graph.js .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/ui/screenshots
	find runtime kernel labextension tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
