# Everything runs in .venv, made on first use. Needs git, make and python3 >= 3.11 with venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
STORE  ?= dir
LONG   ?=
SECONDS ?= 120
PARSER ?=
SWAPS  ?= 200
SYSTEM ?=
SHELL  := /bin/bash

.PHONY: help install lint format test test-attacks test-faults test-rgw airflows test-airflow test-deploy fuzz demo bench \
  bench-quick bench-own bench-archives bench-scale bench-notify bench-mixing bench-airflow bench-fleet bench-dev clean
.DEFAULT_GOAL := help

help:           ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | awk -F'|' '{printf "make %-13s %s\n", $$1, $$2}'

$(READY): pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .constraints.txt --editable '.[publisher,puller]' --group dev
	@touch $@

install: $(READY) ## Make .venv with both commands and the development tools.

lint: $(READY)  ## ruff, mypy --strict, import-linter.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: $(READY)  ## All tests but the next five suites, in parallel; fails below 95 % branch coverage.
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $${TEST_WORKERS:-2} --ignore tests/attacks --ignore tests/faults --ignore tests/rgw --ignore tests/airflow \
	  --ignore tests/deploy $(ARGS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

test-attacks: $(READY) ## Hostile stores, networks, documents and archives; LONG=1 for the long form.
	LONG=$(LONG) $(BIN)/python -m pytest -n $${TEST_WORKERS:-2} tests/attacks $(ARGS)

test-faults: $(READY) ## Kills and errors at each system call, full disks, broken stores; needs root and strace. LONG=1.
	LONG=$(LONG) $(BIN)/python -m pytest -n $${TEST_WORKERS:-2} tests/faults $(ARGS)

# The tests on S3 of the other suites, on a real RGW; those with a server of their own are in "test".
ON_RGW := tests/rgw tests/contract/test_stores.py tests/contract/test_readers.py tests/contract/test_removers.py \
  tests/e2e/test_end_to_end.py tests/e2e/puller/test_s3.py tests/e2e/publisher/test_racing.py

test-rgw: $(READY) ## Store contract, both commands and outages on a real Ceph RGW (apt-get, loopback, thrown away). LONG=1.
	LONG=$(LONG) tests/rgw/with $(BIN)/python -m pytest -n $${TEST_WORKERS:-2} -k 's3 or rgw' $(ON_RGW) $(ARGS)

# Real Airflows, each in an environment of its own with dagferry beside it, as in an Airflow image.
AIRFLOWS := .cache/airflow-3/.ready .cache/airflow-2/.ready

.cache/airflow-%/.ready: tests/airflow/requirements-%.txt pyproject.toml $(READY)
	@$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python -r $< --editable '.[puller]'
	@touch $@

airflows: $(AIRFLOWS) ## Install Airflow 3 and 2.11 for test-airflow and bench-airflow.

test-airflow: $(AIRFLOWS) ## On real Airflow 3 and 2.11: bundle, pin, parses and runs while versions change. LONG=1.
	LONG=$(LONG) $(BIN)/python -m pytest -n $${TEST_WORKERS:-2} --dist loadgroup tests/airflow $(ARGS)

# kubectl, schemas, linters: too heavy for everybody's .venv.
.cache/deploy-tools/.ready: tests/deploy/requirements.txt $(READY)
	@$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python -r $<
	@touch $@

test-deploy: $(READY) .cache/deploy-tools/.ready ## Manifests, images, GitLab component, alert rules, docs' commands, with the real tools where there are any.
	$(BIN)/python -m pytest -n $${TEST_WORKERS:-2} tests/deploy $(ARGS)

fuzz: $(READY)  ## Coverage-guided fuzzing of every parser, SECONDS=120 for each; PARSER=tar for one. Not part of CI.
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c .constraints.txt --group fuzz
	@$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) $(if $(PARSER),--parser $(PARSER))

demo: $(READY)  ## The main job on real DAGs; STORE=s3: through an S3 API on loopback; STORE=rgw: on a Ceph RGW (root, Debian).
	@$(BIN)/python tests/demo/main.py --store $(STORE)

# What bench compares with: each in an environment of its own; ours from a wheel, as in an image. rclone is Debian's.
PEERS := .cache/bench-ours/.ready .cache/bench-awscli/.ready .cache/bench-airflow/.ready

.cache/bench-ours/.ready: $(READY) $(shell find shared puller -name '*.py')
	@$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --compile-bytecode --reinstall-package dagferry '.[puller]'
	@touch $@

.cache/bench-%/.ready: tests/bench/requirements-%.txt $(READY)
	@$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --compile-bytecode -r $<
	@touch $@

bench: $(READY) $(PEERS) ## dagferry beside git-sync's commands, aws s3 sync, rclone, Airflow's bundles, curl. ARGS='--trees small'.
	@command -v rclone >/dev/null || { [ $$EUID -ne 0 ] || apt-get -qq install -y --no-install-recommends rclone >/dev/null; }
	@$(BIN)/python tests/bench/compare.py $(if $(BENCH_QUICK),$(QUICK),$(ARGS))

# A smoke run: every scenario once on a tiny tree, without the peers that take long to install.
QUICK := --trees tiny --runs 2 --versions 5 --period 0.2 --polls 200 --peers dagferry,git-sync,clone,floor --moto

bench-quick: $(READY) .cache/bench-ours/.ready ## The same in two minutes, to see that it runs; no thresholds.
	@$(BIN)/python tests/bench/compare.py $(QUICK) $(ARGS)

bench-own: $(READY) ## What a puller and dagctl cost by themselves: --help, cold start and idle on a directory and on S3.
	@$(BIN)/python tests/bench/own.py $(ARGS)

bench-archives: $(READY) ## Packing and unpacking the large tree beside git archive, zstd and tar.
	@$(BIN)/python tests/bench/archives.py $(ARGS)

bench-scale: $(READY) ## Hundreds of pullers and thousands of simulated ones on one RGW; see tests/bench/SCALE.md. Root, Debian.
	@$(BIN)/python tests/bench/scale.py $(ARGS)

bench-notify: $(READY) ## Publish to live on 20 pullers: polls, RGW's pushes through the relay, --notify. Root, Debian.
	@$(BIN)/python tests/bench/notify.py

bench-fleet: $(READY) ## 50 pullers behind a DNS server: publish, wait, a rollout that comes back, status. Root, Debian.
	@$(BIN)/python tests/bench/fleet.py

bench-dev: $(READY) ## A saved file to a pod that has it, by dagctl publish --watch, on a directory and on S3 (moto).
	@$(BIN)/python tests/bench/devloop.py $(ARGS)

bench-mixing: $(AIRFLOWS) ## How often Airflow mixes two versions, behind a plain link and with us; SWAPS=200 for each.
	@$(BIN)/python tests/bench/mixing.py --swaps $(SWAPS) $(foreach system,$(SYSTEM),--system $(system))

bench-airflow: $(AIRFLOWS) ## Publish to shown in Airflow 3 and 2.11, beside git-sync's layout, at default settings; about an hour.
	@$(BIN)/python tests/bench/airflow.py $(ARGS)

clean:          ## Remove what was built.
	rm -rf $(VENV) .cache .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
