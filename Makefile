# Python 3.11 or newer and make are all that is needed: everything else comes from the locks, into .venv.
# Any make will do (GNU, also macOS's 3.81, and BSD): nothing here is more than POSIX but ?= and .NOTPARALLEL.

PYTHON ?= python3
BIN = .venv/bin
# make up ARGS=-d · make unit ARGS='-k backoff' · make e2e ARGS=-x
ARGS =

.PHONY: help venv users-venv up test test-faults soak faults-page bench test-windows lint types unit e2e wheel coverage lock clean
.NOTPARALLEL:

help: ## What there is (this list)
	@awk -F ' ?## ' '/^[a-z0-9-]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-12s %s\n", $$1, $$2 }' Makefile

up: users-venv ## Bring the fleet up, in order (ARGS=-d: in the background)
	@$(BIN)/python -m aurora_circus up $(ARGS)

test: lint types unit e2e wheel ## All checks, in this order: lint types unit e2e wheel

test-faults: venv ## The fault matrix, all of it: minutes. What this machine cannot do is skipped, and says why
	@sh scripts/faults_needs.sh
	AURORA_FAULTS=build/faults.json $(BIN)/python -m pytest tests/faults $(ARGS)

soak: venv ## An hour of random faults (ARGS='--seconds 600 --seed 1': shorter, or again)
	$(BIN)/python -m tests.faults.soak --report build/soak.json $(ARGS)

faults-page: venv ## Make docs/faults.md of what the last two have measured
	$(BIN)/python scripts/faults_page.py $(ARGS)

bench: venv ## Ours beside other supervisors, into docs/benchmarks.md: hours (ARGS='--trials 5 --measures crash,idle')
	$(BIN)/python -m benchmarks $(ARGS)

test-windows: venv ## The tests on Windows' Python, under Wine on Debian, on the wheel (ARGS=tests/test_windows.py)
	$(BIN)/python scripts/windows_check.py $(ARGS)

lint: venv ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: venv ## mypy, strict; the package also as on other systems
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 aurora_circus plugins tests/test_windows.py
	$(BIN)/mypy --platform darwin aurora_circus plugins

unit: venv ## The tests without real processes: seconds
	$(BIN)/python -m pytest --ignore=tests/e2e --ignore=tests/faults $(ARGS)

e2e: venv ## The tests with real processes and a real circusd, and the quick part of the fault matrix: minutes
	$(BIN)/python -m pytest tests/e2e tests/faults -m 'quick or not fault' $(ARGS)

wheel: venv ## Build sdist and wheel; run the wheel outside the checkout
	$(BIN)/python scripts/wheel_check.py

coverage: venv ## Which lines and branches the tests of `make unit` reach
	$(BIN)/coverage run -m pytest --ignore=tests/e2e --ignore=tests/faults $(ARGS)
	$(BIN)/coverage report

venv: ## Make .venv for developers (PYTHON=python3.12: with that one)
	@PYTHON='$(PYTHON)' sh scripts/venv.sh requirements-dev.lock

users-venv:
	@PYTHON='$(PYTHON)' sh scripts/venv.sh requirements.lock

# One lock serves every platform and Python that we support: markers say what is needed where.
COMPILE = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --no-build --generate-hashes \
	--custom-compile-command 'make lock' pyproject.toml

lock: venv ## Make the locks anew from pyproject.toml (ARGS=--upgrade: with the newest versions)
	$(COMPILE) --group build -o requirements.lock $(ARGS)
	$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock $(ARGS)

clean: ## Remove .venv and what tools left; never what a fleet left (.aurora)
	rm -rf .venv build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
