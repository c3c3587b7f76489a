# One door for people and for CI: `make` lists the targets. Each sets up what it needs, in $(VENV), and does so again
# only when pyproject.toml has changed.

VENV    ?= .venv
WORKERS ?= 2
# Arguments for pytest, benchmarks, demo or serve: `make test ARGS="tests/engine -k softmax"`
ARGS    ?=

PY     := $(VENV)/bin/python
# Each worker goes through a stretch of the tests, so that what a module shares (a server, say) is mostly started once.
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test proofs check fix serve openapi conformance bench soak clean format lint types docs openapi-check coverage wheel dev reference

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- for everybody

demo: $(VENV)/.ready-demo ## train the digits classifier through a service on a free loopback port
	$(PY) examples/demo.py $(ARGS)

test: $(VENV)/.ready-test ## run the tests
	$(PYTEST) $(ARGS)

serve: $(VENV)/.ready-demo ## start the service
	$(PY) -m telegrad_service serve $(ARGS)

proofs: $(VENV)/.ready-test ## run the short forms of the fault runs: kills, restarts, repeats, bad networks, hostile clients, full disks
	$(PYTEST) -m 'proof and not soak' $(ARGS)

# ---------------------------------------------------------------- for whoever changes something

check: dev reference ## everything CI checks: format, lint, types, API drift, wheel, tests, proofs
	$(MAKE) --no-print-directory format
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory types
	$(MAKE) --no-print-directory openapi-check
	$(MAKE) --no-print-directory wheel
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory proofs

fix: dev ## repair format and lint where a tool can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

format: dev ## check the format (repair: make fix)
	$(PY) -m ruff format --check .

lint: dev ## check style and likely bugs (repair: make fix)
	$(PY) -m ruff check .

types: dev ## check types: mypy, then pyright, both strict
	$(PY) -m mypy
	$(PY) -m pyright --pythonpath $(PY)

docs: $(VENV)/.ready-test ## run every code block of README and docs
	$(PYTEST) tests/docs $(ARGS)

openapi: $(VENV)/.ready-demo ## write openapi/*.json and docs/operators.md anew
	$(PY) -m telegrad_service.api.export

openapi-check: $(VENV)/.ready-demo ## fail where openapi/ or docs/operators.md is not what the code says
	$(PY) -m telegrad_service.api.export --check

wheel: $(VENV)/.ready-test ## build the wheel into dist/ (the tests check what is in it)
	$(PY) -m hatchling build -t wheel

conformance: $(VENV)/.ready-test ## compare every op's samples with PyTorch's answers; prints names, samples and passes per family
	$(PYTEST) -q -p tests.conformance tests/engine/test_op_*.py $(ARGS)

bench: reference $(VENV)/.ready-bench $(VENV)/tesseract/.ready ## run the benchmarks (one of them: make bench ARGS=engine)
	$(PY) -m benchmarks $(ARGS)

soak: $(VENV)/.ready-test $(VENV)/.ready-bench ## the long forms of the fault, fuzz and property runs, then latency under load
	$(PYTEST) -m 'soak or hypothesis' --hypothesis-profile=soak $(ARGS)
	$(PY) -m benchmarks load

coverage: $(VENV)/.ready-test ## run the tests and say which lines none of them reaches
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -n $(WORKERS) --dist worksteal $(ARGS)
	$(PY) -m coverage combine -q
	$(PY) -m coverage report

clean: ## remove caches and built things (the environment stays)
	rm -rf build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
	find client service tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- set-up

dev: $(VENV)/.ready-dev ## set up everything a developer needs

# The first command of these that really runs and is new enough; being on the PATH proves neither.
$(PY):
	@found= ; chosen= ; \
	for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
		version=$$($$candidate -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue; \
		found="$$found $$candidate=$$version"; \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then chosen=$$candidate; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
		echo "telegrad needs Python 3.11 or newer; found:$${found:- no Python at all}." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi; \
	echo "creating $(VENV) with $$chosen ($$version)"; \
	if ! $$chosen -m venv $(VENV) || ! $(PY) -m pip install --quiet --upgrade pip; then \
		rm -f $(PY); \
		echo "could not create $(VENV); on Debian and Ubuntu, install the package python3-venv first" >&2; \
		exit 1; \
	fi

$(VENV)/.ready-demo: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet -e '.[service,examples]'
	@touch $@

$(VENV)/.ready-test: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet -e '.[service,scipy,examples,test]'
	@touch $@ $(VENV)/.ready-demo

$(VENV)/.ready-dev: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.ready-demo $(VENV)/.ready-test

# A peer that wants other releases of what the service needs, and so an environment of its own.
$(VENV)/tesseract/.ready: | $(PY)
	$(PY) -m venv $(VENV)/tesseract
	$(VENV)/tesseract/bin/python -m pip install -q 'tesseract-core[runtime]>=1.15'
	touch $@

$(VENV)/.ready-bench: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet -e '.[service,scipy,examples,bench]'
	@touch $@

# The reference is pinned in pyproject.toml; "+cpu" is how its builds without CUDA are called, on Linux only.
# Looked for first where pip is set up to look, then on the index of CPU builds. Without it the tests that compare with
# it are skipped, and said so: a checker's machine need not reach that index.
REFERENCE := $(shell sed -n 's/^reference = \["\(.*\)"\]/\1/p' pyproject.toml)$(if $(filter Linux,$(shell uname -s)),+cpu)
CPU_INDEX ?= https://download.pytorch.org/whl/cpu

reference: $(VENV)/.ready-dev ## install the independent reference that gradients are compared with
	@$(PY) -c 'import sys; from importlib.metadata import version; sys.exit("torch==" + version("torch") != "$(REFERENCE)")' 2>/dev/null \
	|| $(PY) -m pip install --quiet '$(REFERENCE)' 2>/dev/null \
	|| $(PY) -m pip install --quiet --retries 1 --timeout 20 --extra-index-url $(CPU_INDEX) '$(REFERENCE)' \
	|| echo "NOTICE: $(REFERENCE) could not be had; the tests that compare with it will be skipped"
