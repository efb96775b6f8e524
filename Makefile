# Every target does its own set-up, may be repeated, and resumes after an interruption.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
V := .venv/bin

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) hack/setup.py venv

venv: .venv/.ready

check: venv ## lint, types, layers, generated files
	$(V)/ruff check operator hack tests bench
	$(V)/ruff format --check operator
	$(V)/mypy
	$(V)/lint-imports
	$(V)/python -m selfheal.api.crdgen --check
	$(V)/python hack/docgen.py --check

unit: venv ## quick tests, no cluster, in two processes
	$(V)/pytest -q -n 2 --dist worksteal tests/unit tests/scenario tests/handlers tests/evals

test: ## everything, end-to-end included; prints minutes a stage
	@$(PYTHON) hack/stages.py test

test-all: ## test, plus the long-running suites
	@$(PYTHON) hack/stages.py test-all

demo: ## the main job, from an applied incident to INCIDENT_RESOLVED
	@$(PYTHON) hack/stages.py demo

cluster-up: ## start the local cluster
	@$(PYTHON) -m hack.cluster up

cluster-down: ## stop it, leaving nothing behind
	@$(PYTHON) -m hack.cluster down

cluster-status: ## say what runs
	@$(PYTHON) -m hack.cluster status

sandbox-up: venv ## start the sandbox Jira, GitHub and delivery
	@$(V)/python -m hack.sandbox up

sandbox-down: venv ## stop them
	@$(V)/python -m hack.sandbox down

bench: venv ## bench/lifecycle.py
	$(V)/python bench/lifecycle.py

model: venv ## build the small model and its server for evals (opt-in, 6 minutes)
	$(V)/python -m hack.model build

evals: venv ## stored incidents through a model: MODEL_URL=… MODEL=… (OPENAI_API_KEY if it wants one)
	$(V)/python -m tests.evals run --url "$(MODEL_URL)" --model "$(MODEL)" $(EVALS)

record: model ## ask the small model again and keep its answers for CI
	$(V)/python -m tests.evals record

clean: ## stop cluster and sandbox, remove what was built in this clone
	-@$(PYTHON) -m hack.cluster down
	-@test -x $(V)/python && $(V)/python -m hack.sandbox down
	rm -rf .venv .cluster .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help venv check unit test test-all demo cluster-up cluster-down cluster-status sandbox-up sandbox-down bench model evals record clean
