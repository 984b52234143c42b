# CONTRIBUTING.md explains the targets. Each target works from any state that the others left.

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# The first supported interpreter. A name that doesn't start a Python is skipped.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3 python, \
	$(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))

.PHONY: run serve setup test test-slow lint ruff ruff-format mypy bench bench-full simulate docs constraints newest

run: $(VENV)/.run ## the main job on the bundled data
	$(BIN)/uplift run deployments/configs/rand_hie.yaml

serve: $(VENV)/.run ## server, UI and deployments on loopback
	$(BIN)/uplift serve

setup: $(VENV)/.dev ## only the environment

test: $(VENV)/.dev ## the fast tests: under 10 minutes on 2 cores
	$(PYTEST) -n 2 --dist worksteal -m "not slow"

test-slow: $(VENV)/.dev ## faults, coverage, browser; shows the output of simulations
	$(PYTEST) -n 2 --dist loadfile -m "slow and not alone" -rPfE
	$(PYTEST) -m alone -rPfE

lint: ruff ruff-format mypy ## the three checks that pre-commit runs too

ruff: $(VENV)/.dev
	$(BIN)/ruff check .

ruff-format: $(VENV)/.dev
	$(BIN)/ruff format --check .

mypy: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev ## beside other packages and a bare loop, and what orchestration costs: 10 minutes
	$(BIN)/python -m benchmarks.peers small five t-known --packages uplift-flows,loop,metalearners --turns 3
	$(BIN)/python benchmarks/overhead.py stage task command

bench-full: $(VENV)/.dev ## all benchmarks, large data and every package too: hours
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.peers.definitions
	$(BIN)/python benchmarks/overhead.py runs stage task small large second command again
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/judging.py
	$(BIN)/python -m benchmarks.targeting
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/dask_and_processes.py
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.scale_out
	$(BIN)/python -m benchmarks.parallelism
	$(BIN)/python -m benchmarks.shared_bins --seeds 50

simulate: $(VENV)/.dev ## checks intervals and rankings on thousands of draws: 90 minutes
	$(BIN)/python -m benchmarks.simulate

docs: $(VENV)/.dev ## the documentation site, build/docs/index.html; a warning is an error
	$(BIN)/python docs/site build/docs

constraints: ## renews constraints.txt with the newest allowed versions, on each supported Python
	$(PYTHON) .ci/constraints.py

newest: ## runs the main job on the newest allowed versions and reports the result
	@$(PYTHON) .ci/newest.py

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

# If a killed set-up left an incomplete folder, it is made again.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
