# Keystow's verbs. Each makes the environment that it needs; a second call needs no network.
.DEFAULT_GOAL := help
.PHONY: help run test test-full lint format bench mutate validate build deploy bootstrap rewrap restore verify-aws lock clean

STACK ?= keystow
# What the stack was deployed with last, so that the build fits it.
RUNTIME ?= $(or $(shell sed -nE 's/.*Runtime=[\\"]*(python3\.[0-9]+).*/\1/p' samconfig-$(STACK).toml 2>/dev/null),python3.13)
WORKERS ?= 2
PY := .venv/bin/python
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} .venv-sam/bin/sam
# SAM's cache knows the code's folders only, not what builds them nor for which Python.
BUILT_BY = $(RUNTIME)-$(shell cat scripts/Makefile scripts/artefact.py | cksum | cut -d " " -f 1)
# What the template's parameter takes.
RUNTIMES = $(shell sed -nE '/^  Runtime:/,/AllowedValues/s/.*AllowedValues: \[(.*)\].*/\1/p' template.yaml | tr -d ,)
# Who has the development environment has all that `make run` needs.
RUN_ENVIRONMENT := $(if $(wildcard .venv/.dev),.venv/.dev,.venv/.local)
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist loadgroup

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN_ENVIRONMENT) ## run everything on this machine: no AWS account, no Docker (KEYSTOW_PORT)
	@$(PY) -u -m local run

test: .venv/.dev tests/clients/node_modules/.ok ## the tests of every change
	@$(PYTEST) -m "not full"

test-full: .venv/.dev .venv-sam/.ok tests/clients/node_modules/.ok ## all tests: fuzzing, faults, browser, deployment, every provider
	@$(PYTEST)

lint: .venv/.dev ## style, format and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: .venv/.dev ## let ruff correct what it can
	@.venv/bin/ruff check --fix --exit-zero .
	@.venv/bin/ruff format .

bench: .venv/.dev ## measure and hold against the budgets
	@$(PY) -m benchmarks

mutate: .venv-mutate/.ok ## change the code piece by piece: what does no test notice? (PACKAGES, MODULES; takes long)
	@scripts/mutate $(PACKAGES)

validate: .venv-sam/.ok ## check template.yaml (sam validate, cfn-lint)
	@$(SAM) validate --lint
	@.venv-sam/bin/cfn-lint template.yaml scripts/front-door.yaml && echo "cfn-lint: no findings"

build: .venv-sam/.ok ## build for AWS, with bytecode (RUNTIME=python3.12 takes another version)
	@case ' $(RUNTIMES) ' in *' $(RUNTIME) '*) ;; \
	 *) echo "RUNTIME=$(RUNTIME) is none of Lambda's that fit: $(RUNTIMES)" >&2; exit 1;; esac
	@python=$$(scripts/find-python $(RUNTIME:python%=%)) && export RUNTIME=$(RUNTIME) && \
	 sed -E 's/Default: python3\.[0-9]+/Default: $(RUNTIME)/' template.yaml > .template-build.yaml && \
	 $(SAM) build --template .template-build.yaml --cached --cache-dir ".aws-sam/cache-$(BUILT_BY)" && \
	 "$$python" scripts/artefact.py check .aws-sam/build; \
	 status=$$?; rm -f .template-build.yaml; exit $$status

deploy: build ## deploy into your AWS account (STACK, PARAMETERS, TAGS; asks the first time: docs/aws.md)
	@.venv-sam/bin/python scripts/deploy.py '$(STACK)' '$(RUNTIME)' \
	 --parameters='$(PARAMETERS)' --tags='$(TAGS)' --sam='$(DEPLOY)'

bootstrap: .venv-sam/.ok ## ask the deployed stack for its first keys, once
	@.venv-sam/bin/python scripts/bootstrap.py '$(STACK)'

rewrap: .venv-sam/.ok ## wrap the deployed stack's data keys anew, with its present KMS key
	@.venv-sam/bin/python scripts/rewrap.py '$(STACK)'

restore: .venv-sam/.ok ## restore tables of the deployed stack into new ones (MOMENT: docs/deploy.md)
	@.venv-sam/bin/python scripts/restore.py '$(STACK)' '$(MOMENT)' $(if $(YES),--yes)

verify-aws: .venv-sam/.ok ## look at the deployed stack: what is as it should be, what is not (STACK)
	@PYTHONPATH=scripts .venv-sam/bin/python -m verify_aws '$(STACK)'

lock: ## pin requirements/*.in and the layer's anew (needs uv; LOCK=--upgrade for newer ones)
	@scripts/lock $(LOCK)

clean: ## remove builds, caches and the local stack WITH ITS DATA
	rm -rf .local .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/clients/node_modules

.venv/.local: requirements/local.txt
	@scripts/make-venv .venv $<
	@touch $@

.venv/.dev: requirements/dev.txt
	@scripts/make-venv .venv $<
	@touch $@

.venv-mutate/.ok: requirements/mutate.txt
	@scripts/make-venv .venv-mutate $<
	@touch $@

.venv-sam/.ok: requirements/sam.txt
	@scripts/make-venv .venv-sam $<
	@touch $@

# The official clients, for the tests only. Node comes from PyPI with the development packages.
tests/clients/node_modules/.ok: tests/clients/package-lock.json .venv/.dev
	@PATH="$(CURDIR)/.venv/bin:$$PATH" npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
