# Every goal does its own set-up: a virtual environment in .venv, filled from requirements.lock.
# Needed beforehand: Python 3.11 or later with pip, make, gcc. Try `make help`.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN    := .venv/bin
UV     := uv==0.13.9

# Where bytecode is not kept, each of the hundreds of processes that the tests start compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: reference screenshot corpus vectors help check test heavy lint prove bench grade setup lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

check: setup ## check the SQLite store against the model, and show the report
	@$(BIN)/leasehold check sqlite

# three at once on two cores: many a test waits for a disk, a deadline or another process
test: lint ## lint, then every test
	@$(BIN)/python -m pytest -n 3 --dist worksteal -m "not heavy"

heavy: setup ## what make test leaves out: above all every concurrency and crash liar by a whole check (about 20 minutes); PART=1/8: a part
	@$(BIN)/python -m pytest -n 2 -m heavy $(if $(PART),--part $(PART))

lint: setup ## ruff, mypy strict, import contracts
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

prove: setup ## CrossHair: which properties are confirmed over all paths
	@$(BIN)/python -m tests.proofs

bench: setup ## the benchmarks, one interleaved run
	@$(BIN)/python -m tests.bench

grade: setup ## every liar by every way of testing, into docs/grading.md (about 40 minutes)
	@$(BIN)/python -m tests.grade

setup: ## only the set-up: .venv made, or brought up to date
	@"$(PYTHON)" tools/make_venv.py

reference: setup ## generate docs/reference.md, specs/requirements.json and docs/finding.svg anew
	@$(BIN)/python -m tools.reference
	@$(BIN)/python -m tools.picture

corpus: setup ## a regression case for each liar that has none; ANEW=--anew makes all anew
	@$(BIN)/python -m tools.corpus $(ANEW)

vectors: setup ## generate the conformance vectors below specs/ anew
	@$(BIN)/python -m tools.vectors

screenshot: setup ## draw docs/report.png anew; needs Chromium, or root on Debian
	@$(BIN)/python -m tools.screenshot

lock: ## resolve the dependencies anew into requirements.lock
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && \
	"$(PYTHON)" -m venv "$$tools" && \
	"$$tools/bin/python" -m pip install --quiet --disable-pip-version-check '$(UV)' && \
	"$$tools/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --generate-hashes \
	    --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	    --output-file requirements.lock pyproject.toml

clean: ## remove what the goals above made
	@rm -rf .venv .venv.lock build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find model impl tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
