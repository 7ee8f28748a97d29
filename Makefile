# Everything a developer, CI or a visitor runs. `make` alone lists it.
# Each target makes .venv from the pinned requirements by itself; it needs python3 (3.11 or newer) with venv, make and git.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
unexport PYTHONDONTWRITEBYTECODE # each test worker, and each program that a test starts, would compile all anew

BIN := .venv/bin
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3)
step = @echo "kubetune: $(1)"
# Run a command that is only worth reading when it fails.
quietly = @said=$$($(1) 2>&1) || { echo "$$said"; exit 1; }

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the main job ---

.PHONY: demo
demo: demo-install ## tune a real classifier on this machine, by ASHA (about a minute)
	$(call step,running examples/digits-asha.yaml on this machine)
	@$(BIN)/kubetune run examples/digits-asha.yaml

.PHONY: demo-install
demo-install: .venv/.demo ## install what `make demo` needs into .venv, and no more

# --- is it right? ---

.PHONY: test
test: check ## everything: `make check`, the slow tests, a fresh machine, a real Kubernetes
	$(call step,the slow tests)
	@$(BIN)/pytest -q -n 2 --dist worksteal -m slow
	$(call step,a fresh machine)
	@$(BIN)/python -m tests.fresh
	$(call step,a real Kubernetes)
	@$(E2E)

.PHONY: check
check: .venv/.dev ## the quick part: lint, types, layers, unit and simulation tests
	$(call step,ruff)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	$(call step,mypy)
	$(call quietly,$(BIN)/mypy)
	$(call step,layers)
	$(call quietly,$(BIN)/lint-imports)
	$(call step,the trial runtime runs on Python 3.8)
	$(call quietly,$(BIN)/vermin --target=3.8- --violations --no-tips trial-runtime/kubetune)
	$(call step,the CRD by the API server's own validation)
	@$(BIN)/python -m tests.crdcheck.checker
	$(call step,the launcher)
	@$(BIN)/python trial-runtime/launcher/build.py
	@$(BIN)/python trial-runtime/launcher/build.py --sanitized
	$(call step,unit and simulation tests)
	@$(BIN)/pytest -q -n 4 --dist worksteal -m "not slow"

.PHONY: fresh
fresh: .venv/.dev ## `make demo` on a bare Debian of its own, as an unprivileged user (needs root and debootstrap)
	@$(BIN)/python -m tests.fresh

# --- on a real Kubernetes ---

# NODES=3 makes one of three nodes, anew where it has another number. Without it: what is up, else one node; of the tests' own, three.
NODES_WANTED = $(if $(NODES),--nodes $(NODES))
E2E = images=$$($(BIN)/python -m tests.e2e.build) && \
  KUBETUNE_IMAGES="$$images" $(BIN)/python -m tests.cluster run --up $(NODES_WANTED) -- $(BIN)/pytest -q -s --timeout 900 tests/e2e

.PHONY: cluster
cluster: .venv/.dev ## a real Kubernetes for the tests, by kind: with Docker, or without it on a Debian as root
	@$(BIN)/python -m tests.cluster up $(NODES_WANTED)

.PHONY: cluster-down
cluster-down: .venv/.dev ## take it down; nothing of it is left running, mounted or changed
	@$(BIN)/python -m tests.cluster down

.PHONY: e2e
e2e: .venv/.dev ## the tests that need it: in the cluster that is up, or in one of their own
	@$(E2E)

# --- images ---

VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' operator/pyproject.toml)
TARGETS := operator runtime examples
TAG = docker.io/kubetune/$(1):$(VERSION)
# Docker where its daemon answers, else buildah. PYTHON_IMAGE=... for another base, BUILD_FLAGS=... for what else the builder must know.
BUILDER ?= $(shell docker info >/dev/null 2>&1 && echo docker || echo buildah)
BUILD_docker = docker build
BUILD_buildah = buildah bud --isolation chroot --ulimit nofile=4096:4096
BUILD = $(BUILD_$(BUILDER)) $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) $(BUILD_FLAGS)

.PHONY: images
images: ## build the images: operator, runtime (the sidecar) and examples, with docker or buildah
	@for target in $(TARGETS); do \
	  echo "kubetune: building kubetune/$$target:$(VERSION) with $(BUILDER)"; \
	  $(BUILD) --target $$target --tag $(call TAG,$$target) --file Dockerfile . || exit; \
	done

.PHONY: kind-load
kind-load: images ## load them into a kind cluster, KIND=its name (kind)
	@for target in $(TARGETS); do \
	  case $(BUILDER) in \
	    docker) kind load docker-image --name $(or $(KIND),kind) $(call TAG,$$target) || exit ;; \
	    *) mkdir -p build && rm -f build/$$target.tar && \
	      buildah push $(call TAG,$$target) docker-archive:build/$$target.tar:$(call TAG,$$target) && \
	      kind load image-archive --name $(or $(KIND),kind) build/$$target.tar || exit ;; \
	  esac; \
	done

.PHONY: push
push: registry-given images ## push them: REGISTRY=registry.example/team, then helm install --set image.registry=registry.example/team
	@for target in $(TARGETS); do \
	  case $(BUILDER) in \
	    docker) docker tag $(call TAG,$$target) $(REGISTRY)/kubetune/$$target:$(VERSION) && \
	      docker push $(REGISTRY)/kubetune/$$target:$(VERSION) || exit ;; \
	    *) buildah push $(call TAG,$$target) docker://$(REGISTRY)/kubetune/$$target:$(VERSION) || exit ;; \
	  esac; \
	done

.PHONY: registry-given
registry-given:
	@[ -n "$(REGISTRY)" ] || { echo "kubetune: REGISTRY must be set: make push REGISTRY=registry.example/team" >&2; exit 2; }

# --- change it ---

.PHONY: format
format: .venv/.dev ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format --quiet

.PHONY: launcher
launcher: $(BIN)/python ## build kubetune-launch for x86_64 and arm64 into build/launcher (the first time takes a minute or two)
	@$(BIN)/python trial-runtime/launcher/build.py

.PHONY: crds
crds: .venv/.dev ## write crds/ anew from the models in kubetune_operator.api, and the chart's copy of it
	@$(BIN)/python -m kubetune_operator.api.crd
	@cp crds/*.yaml charts/kubetune/files/

# dev first: the others are held to the versions that are tested.
.PHONY: lock
lock: .venv/.dev ## pin requirements/*.in anew, with hashes
	$(call step,requirements/dev.txt)
	@$(LOCK) requirements/dev.in -o requirements/dev.txt
	$(call step,requirements/demo.txt)
	@$(LOCK) requirements/demo.in -o requirements/demo.txt -c requirements/dev.txt
	$(call step,requirements/run.txt)
	@$(LOCK) requirements/run.in -o requirements/run.txt -c requirements/dev.txt
	$(call step,requirements/operator.txt)
	@$(LOCK) requirements/operator.in -o requirements/operator.txt -c requirements/dev.txt
	$(call step,requirements/examples.txt)
	@$(LOCK) requirements/examples.in -o requirements/examples.txt -c requirements/dev.txt
	$(call step,requirements/e2e.txt)
	@$(LOCK) requirements/e2e.in -o requirements/e2e.txt --no-deps
	$(call step,requirements/launcher.txt)
	@$(LOCK) requirements/launcher.in -o requirements/launcher.txt

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade

# --- measure it ---

.PHONY: bench-report
bench-report: .venv/.dev ## what report() costs a trial
	@$(BIN)/python -m tests.bench.report

.PHONY: bench-local
bench-local: .venv/.dev ## trials per second of `kubetune run`, beside Ray Tune
	@$(BIN)/python -m tests.bench.local

.PHONY: bench-decisions
bench-decisions: .venv/.dev ## what a decision of ASHA and median stopping costs, up to 100,000 trials, beside Ray Tune and Optuna
	@$(BIN)/python -m tests.bench.decisions

.PHONY: bench-simulate
bench-simulate: .venv/.dev ## a whole ASHA experiment of 10,000 trials on a virtual clock
	@$(BIN)/python -m tests.bench.simulate

.PHONY: bench-quality
bench-quality: .venv/.dev ## what each stopping rule finds for the same time, beside Ray Tune, Optuna and Syne Tune (three hours; again: less than one)
	@$(BIN)/python -m tests.bench.quality

# --- set up, clear away ---

.PHONY: clean
clean: ## remove .venv and every cache that was made here
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.%: requirements/%.txt operator/pyproject.toml trial-runtime/pyproject.toml $(BIN)/python
	$(call step,installing requirements/$*.txt)
	@$(BIN)/pip install --quiet --require-hashes -r requirements/$*.txt
	$(call step,installing kubetune itself)
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e trial-runtime -e operator
	@touch $@

$(BIN)/python:
	@found= bare=; \
	for python in $(PYTHONS); do \
	  version=$$("$$python" --version 2>/dev/null) || continue; \
	  found="$$found, found $$python ($$version)"; \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || { bare=$$python; continue; }; \
	  echo "kubetune: making .venv with $$version"; \
	  exec "$$python" -m venv --clear .venv; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "kubetune: $$bare cannot make a virtual environment; install its venv package (Debian: apt install python3-venv)" >&2; \
	else \
	  echo "kubetune: needs Python 3.11 or newer on PATH$$found; install it, or name one: make PYTHON=/path/to/python3 ..." >&2; \
	fi; \
	exit 1
