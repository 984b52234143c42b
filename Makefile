# The whole developer manual. Each target works from any state the others left behind.

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# The first interpreter that is a supported one; names that only seem to exist are passed over.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3 python, \
	$(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))

.PHONY: run setup test test-slow lint bench simulate serve constraints newest

run: $(VENV)/.run ## the main job on the bundled data
	$(BIN)/uplift run deployments/configs/rand_hie.yaml

serve: $(VENV)/.run ## server, UI and deployments on loopback
	$(BIN)/uplift serve

setup: $(VENV)/.dev ## the environment alone

test: $(VENV)/.dev ## under 10 minutes on 2 cores
	$(PYTEST) -n 2 --dist worksteal -m "not slow"

test-slow: $(VENV)/.dev ## fault injection, coverage, browser; shows what simulations print
	$(PYTEST) -n 2 --dist loadfile -m "slow and not alone" -rPfE
	$(PYTEST) -m alone -rPfE

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev ## what orchestration costs, and what the rule for auto loses: half an hour
	$(BIN)/python benchmarks/overhead.py runs stage task small large second command
	$(BIN)/python benchmarks/dask_and_processes.py
	$(BIN)/python -m benchmarks.parallelism

simulate: $(VENV)/.dev ## what intervals and rankings must keep, over thousands of draws: an hour
	$(BIN)/python -m benchmarks.simulate

constraints: ## the newest allowed versions, on each supported Python
	$(PYTHON) .ci/constraints.py

newest: ## the main job on the newest allowed versions, without constraints: says how it went
	@$(PYTHON) .ci/newest.py

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

# A folder that a killed set-up left half-made is made again.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
