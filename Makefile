# `make demo` and `make test` need Python 3.11 to 3.14, git and make, nothing else.

PYTHON ?= python3
# Airflow 3.0, the oldest one supported, excludes Python 3.13.
OLDEST_PYTHON ?= $(PYTHON)
# Any other Python from 3.11 to 3.14, by name or by path.
QUICK_PYTHON ?= $(PYTHON)
ARGS ?=

VENV := .venv
OLDEST := .venv-oldest
CLUSTER := .venv-cluster
QUICK := .venv-$(notdir $(QUICK_PYTHON))
PY := $(VENV)/bin/python
MAKE_VENV := scripts/make_venv.py --venv $(VENV) --constraints constraints/airflow-3.3.txt
MAKE_CLUSTER := scripts/make_venv.py --venv $(CLUSTER) --constraints constraints/airflow-3.3.txt
MAKE_QUICK := scripts/make_venv.py --venv $(QUICK) --constraints constraints/airflow-3.3.txt
MAKE_OLDEST := scripts/make_venv.py --venv $(OLDEST) --constraints constraints/airflow-3.0.txt --below-python 3.13

# Nothing here spends credits, or touches the user's own Airflow, whatever the environment holds.
unexport HEDRA_API_KEY $(filter AIRFLOW%,$(.VARIABLES))

# Without bytecode files, each process of pytest compiles the plugins again: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv venv-dev venv-cluster venv-oldest venv-quick demo demo-live test test-quick crash-test fuzz test-oldest lint types airflow cluster cluster-test sandbox bench bench-batch soak pages dist clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv  ## make a talking avatar by Airflow against the sandbox, without key and cost: out/avatar.mp4; on API v3 with ARGS="--api 3"
	@$(PY) -m scripts.demo $(ARGS)

demo-live: export HEDRA_API_KEY := $(value HEDRA_API_KEY)
demo-live: venv  ## the same against Hedra with your HEDRA_API_KEY: shows the cost and asks before it pays
	@$(PY) -m scripts.demo --live $(ARGS)

# Three at a time: the tests in a real Airflow mostly wait.
test: venv-dev  ## run all tests; a part of them with ARGS="-k submit" or ARGS="--ignore=tests/system"
	@$(PY) -m pytest -n 3 $(ARGS)

test-quick: venv-quick  ## run the tests without a real Airflow on another Python: QUICK_PYTHON=python3.13
	@$(QUICK)/bin/python -m pytest -n 3 -m "not live and not crash and not cluster" --ignore=tests/system --ignore=tests/faults $(ARGS)

crash-test: venv-dev  ## run the tests that kill workers, scheduler and triggerer, and clear tasks in every state
	@$(PY) -m pytest -m crash tests/system $(ARGS)

fuzz: venv-dev  ## fuzz the parsing of Hedra's answers, guided by coverage; needs atheris; ARGS="--seconds 600"
	@$(PY) -m tests.fuzz $(ARGS)

test-oldest: venv-oldest  ## run the tests of the Airflow layer on Airflow 3.0
	@$(OLDEST)/bin/python -m pytest -n 2 -m "not live and not crash and not cluster" --ignore=tests/api --ignore=tests/sandbox $(ARGS)

lint: venv-dev  ## check style, formatting and the import contracts
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(VENV)/bin/lint-imports

types: venv-dev  ## check static types
	@$(PY) -m mypy

airflow: venv  ## run the Airflow UI on loopback with the example DAGs and the sandbox; on API v3 with ARGS="--api 3"; Ctrl-C ends it
	@$(PY) -m scripts.local_airflow $(ARGS)

cluster: venv-cluster  ## run a Celery cluster on loopback with the example DAGs and the sandbox; needs Redis, PostgreSQL, Linux
	@$(CLUSTER)/bin/python -m scripts.cluster $(ARGS)

cluster-test: venv-cluster  ## run the tests that kill and stop workers and triggerers of such a cluster; ten minutes
	@$(CLUSTER)/bin/python -m pytest -m cluster tests/cluster $(ARGS)

sandbox: venv  ## run the sandbox, a local Hedra with both APIs; prints their connections; ARGS="--help" lists its options
	@$(PY) -m hedra_provider.sandbox $(ARGS)

bench: venv-dev  ## run the benchmarks; each prints a table and writes JSON
	@for file in $(filter-out %bench_batch.py,$(wildcard benchmarks/bench_*.py)); do \
		$(PY) -m benchmarks.$$(basename $$file .py) || failed=1; done; $(PY) -m benchmarks.page; exit $${failed:-0}

bench-batch: venv-dev  ## run 300 clips in a real Airflow on a slow plan; fewer with ARGS="--clips 30"
	@$(PY) -m benchmarks.bench_batch $(ARGS)
	@$(PY) -m benchmarks.page

soak: venv-dev  ## run for an hour with faults and kills, then check what is left; ARGS="--seconds 300"
	@$(PY) -m scripts.soak $(ARGS)

pages: venv-dev  ## write the pages of docs/ that are made from the code
	@$(PY) -m scripts.reference
	@$(PY) -m scripts.error_table
	@$(PY) -m tests.faults.table --write

dist: venv-dev  ## build wheel and source distribution into dist/, and check their contents
	@$(PY) -m scripts.distributions

clean:  ## remove everything that these commands made
	rm -rf $(VENV) $(OLDEST) $(CLUSTER) .venv-python* .airflow out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

venv:
	@$(PYTHON) $(MAKE_VENV) --extras sandbox,examples

venv-dev:
	@$(PYTHON) $(MAKE_VENV) --extras sandbox,examples,dev

venv-cluster:
	@$(PYTHON) $(MAKE_CLUSTER) --extras sandbox,examples,dev,cluster

venv-oldest:
	@$(OLDEST_PYTHON) $(MAKE_OLDEST) --extras sandbox,examples,dev

venv-quick:
	@$(QUICK_PYTHON) $(MAKE_QUICK) --extras sandbox,examples,dev
