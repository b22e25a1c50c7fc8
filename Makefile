# `make quickstart` trains and certifies a network; `make check` is for while you
# work, `make test` checks everything. All set up what they need in `.venv`.

PYTHON ?= python3
# `make check` runs on PyTorch, unless BACKEND names another.
CHECK_BACKEND := $(or $(BACKEND),torch)
BACKEND ?= tensorflow
JOBS ?= 2
MINUTES ?= 30
GPU_MINUTES ?= 10
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
BACKENDS := tensorflow jax torch

# What to install for a backend: TensorFlow's CPU build, and of PyTorch the
# release that the suite is run with.
PACKAGES_tensorflow := tensorflow-cpu>=2.18
PACKAGES_jax := jax>=0.6
PACKAGES_torch := torch==2.13.0

.PHONY: quickstart check test lint smoke wheel docs fuzz benchmarks race \
	speedrun gpu-report clean \
	$(addprefix test-,$(BACKENDS))

quickstart: $(VENV)/.quickstart-$(BACKEND)
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python examples/quickstart.py $(ARGS)

# Lint, types and one backend's fast tests, about 3 minutes.
check: lint
	KERAS_BACKEND=$(CHECK_BACKEND) $(BIN)/pytest -q -n $(JOBS) \
		--dist worksteal -m "not slow"

test: lint $(addprefix test-,$(BACKENDS)) smoke

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(addprefix test-,$(BACKENDS)): test-%: $(VENV)/.test
	KERAS_BACKEND=$* $(BIN)/pytest -q -n $(JOBS) --dist worksteal

# Benchmarks at small sizes. The suites run the examples, the race and the GPU
# report.
smoke: $(VENV)/.test
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python benchmarks/parametrizations.py \
		--units 16 --batch-sizes 8 --rounds 1
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python benchmarks/layers.py --batch-size 1 --rounds 1
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python benchmarks/losses.py \
		--batch-size 10 --depth 1 --width 8 --rounds 1
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python benchmarks/proofs.py --smoke
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python benchmarks/validation.py --smoke
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python benchmarks/certificates.py --smoke
	$(BIN)/python benchmarks/sharded_kernels.py --smoke

# The packages, and the README's example in an empty environment, for which a
# backend is downloaded.
wheel: $(VENV)/.test
	KERAS_LIP_TEST_WHEEL=1 KERAS_BACKEND=$(CHECK_BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/pytest -q tests/wheel_test.py

# The site, in docs/_build/html. It loads nothing from elsewhere. The networks
# of its notebooks are so small that threads cost more than they gain.
docs: $(VENV)/.docs
	KERAS_BACKEND=$(CHECK_BACKEND) OMP_NUM_THREADS=1 $(BIN)/python -m sphinx \
		-b html -W --keep-going -q -d docs/_build/doctrees docs docs/_build/html

# Random networks, and attacks on what is certified of them, for a while.
fuzz: $(VENV)/.test
	KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3 \
		$(BIN)/python -m tests.random_networks.campaign --minutes $(MINUTES)

# Tables of what constraints cost, on a quiet machine.
benchmarks: $(VENV)/.test
	KERAS_BACKEND=$(BACKEND) $(BIN)/python benchmarks/parametrizations.py \
		--output benchmarks/results/parametrizations_$(BACKEND).md
	KERAS_BACKEND=$(BACKEND) $(BIN)/python benchmarks/layers.py \
		--output benchmarks/results/layers_$(BACKEND).md
	KERAS_BACKEND=$(BACKEND) $(BIN)/python benchmarks/losses.py \
		--output benchmarks/results/losses_$(BACKEND).md
	KERAS_BACKEND=$(BACKEND) $(BIN)/python benchmarks/proofs.py \
		--output benchmarks/results/proofs.md
	KERAS_BACKEND=$(BACKEND) $(BIN)/python benchmarks/validation.py \
		--output benchmarks/results/validation_$(BACKEND).md
	KERAS_BACKEND=$(BACKEND) $(BIN)/python benchmarks/certificates.py \
		--output benchmarks/results/certificates_$(BACKEND).md

# Whole networks beside those of other libraries, about twenty minutes.
race: $(VENV)/.benchmarks
	$(BIN)/python benchmarks/race.py --output benchmarks/results/race.md $(ARGS)

# Three networks on CIFAR-10, of an hour of training each: see the script.
speedrun: $(VENV)/.test
	$(BIN)/pip install --quiet -e ".[data]"
	KERAS_BACKEND=tensorflow $(BIN)/python experiments/speedrun.py $(ARGS)

# Ten minutes on a GPU that JAX sees, in a Python with Keras and JAX.
gpu-report:
	PYTHONPATH=. $(PYTHON) benchmarks/gpu_report.py --minutes $(GPU_MINUTES) \
		--output gpu_report.json $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info quickstart docs/_build docs/_figures \
		docs/generated

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.quickstart-%: $(VENV)/.created pyproject.toml
	@test -n "$(PACKAGES_$*)" || \
		{ echo "BACKEND must be one of: $(BACKENDS)" >&2; exit 1; }
	$(BIN)/pip install --quiet "$(PACKAGES_$*)" -e ".[quickstart]"
	touch $@

$(VENV)/.docs: $(VENV)/.test
	$(BIN)/pip install --quiet -e ".[docs]"
	touch $@

$(VENV)/.benchmarks: $(VENV)/.test
	$(BIN)/pip install --quiet -e ".[benchmarks,data]"
	touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml
	$(BIN)/pip install --quiet \
		$(foreach backend,$(BACKENDS),"$(PACKAGES_$(backend))") \
		-e ".[test,dev]"
	touch $@
