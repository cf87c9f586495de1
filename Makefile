# Everything starts from a fresh clone with Python 3.11-3.13 and make: each target sets up what it needs.
PYTHON  ?= python3
PROFILE ?=
ARGS    ?=
VENV    := .venv
BENCH   := .venv-bench
RUN     := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup setup-bench test test-faults lint format docs reproduce doctor report compare bench lock clean

# pip settings of other tools that would send packages elsewhere or change what is installed
# (index, proxy and certificate settings are kept).
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_EDITABLE
unexport PIP_REQUIRE_HASHES PIP_NO_DEPS PIP_NO_BINARY PIP_ONLY_BINARY PIP_NO_BUILD_ISOLATION PIP_DRY_RUN
unexport PIP_REQUIRE_VIRTUALENV PYTHONHOME

help: ## Show this list
	@echo "usage: make TARGET [PROFILE=smoke|sample|paper|...] [ARGS='key=value ...'] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## / {printf "  %-32s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Create .venv with the locked dependencies (minutes, about 6 GB of disk)

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(RUN) -m pip --version >/dev/null 2>&1 || { \
	  version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	  case "$$version" in 3.11|3.12|3.13) ;; *) \
	    echo "error: Python 3.11, 3.12 or 3.13 is needed, but $(PYTHON) is $${version:-not found};" \
	         "name another with make PYTHON=python3.12 ..." >&2; exit 1;; esac; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	    echo "error: $(PYTHON) cannot create a virtual environment; install its venv and pip modules" \
	         "(on Debian: apt install python3-venv)" >&2; exit 1; }; }
	@echo "Installing the locked dependencies into $(VENV): about 3 GB to download, a few minutes ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

test: setup ## Run the tests (ARGS='-m "not slow"' for the quick ones; FPI_DATA=... for those on real data)
	$(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-faults: setup ## Kill every task's smoke runs at random moments, 5 times each, and compare the results (half an hour)
	FPI_FAULTS=5 $(RUN) -m pytest tests/e2e/faults $(ARGS)

lint: setup ## Check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: setup ## Apply the code style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: setup ## Build the documentation and check its links: build/docs/index.html
	$(RUN) -m sphinx --fail-on-warning --keep-going --fresh-env --quiet -c scripts/docs -d build/doctrees . build/docs
	$(RUN) scripts/docs/links.py build/docs

reproduce: setup ## Reproduce everything, one task after the other (ARGS=--dry-run: the jobs and their times)
	$(RUN) scripts/reproduce.py all $(if $(PROFILE),profile=$(PROFILE)) $(ARGS)

reproduce-toy: ## Reproduce the toy problems, figures 5.1-5.5
reproduce-bibtex: ## Reproduce the multi-label classification of Bibtex, table 5.1
reproduce-denoising: ## Reproduce image denoising, tables 6.1 and 6.2, figures 6.1 and 6.2
reproduce-flow: ## Reproduce optical flow: the two below, one after the other
reproduce-flow-chairs: ## Reproduce optical flow by a network, figures 6.3 and 6.4
reproduce-flow-sintel: ## Reproduce optical flow by a learned energy, figures 6.6 and 6.7
reproduce-classification: ## Reproduce Fixed Point Networks on MNIST (paper's tables 1 and 2, figure 6)
reproduce-classification-svhn: ## Reproduce Fixed Point Networks on SVHN (tables 1 and 2, figure 7)
reproduce-classification-cifar10: ## Reproduce Fixed Point Networks on CIFAR-10 (tables 1 and 2, figure 5)
reproduce-restoration: ## Reproduce image restoration by PODM, table 1, figures 2 and 3 of its poster
reproduce-vae: ## Reproduce image generation with a VAE, figures 6.8-6.15
reproduce-%: setup
	$(RUN) scripts/reproduce.py $* $(if $(PROFILE),profile=$(PROFILE)) $(ARGS)

data-bibtex: ## Download the Bibtex data into data/ (3.5 MB, checksums verified)
data-train400: ## Download the real stand-in images of denoising into data/ (16 MB, checksums verified)
data-podm-denoisers: ## Download the PODM authors' 25 trained denoisers into data/ (20 MB, checksums verified)
data-levin: ## Download the blur kernels of Levin et al. 2009 into data/ (32 kB, checksum verified)
data-flyingchairs: ## Download FlyingChairs, the paper's images of denoising and optical flow, into data/ (31 GB)
data-flow-chairs: ## Download nine pairs of FlyingChairs into data/, to evaluate optical flow on (25 MB)
data-inception: ## Download the network that the FID is measured with into data/ (96 MB, checksum verified)
data-shapes: setup ## Write 100 flying shapes into data/flow/FlyingShapes (280 MB; ARGS='--pairs 22872 --to DIR')
	$(RUN) scripts/flow_shapes.py $(ARGS)
data-mnist: ## Download MNIST into data/ (12 MB, checksums verified)
data-svhn: ## Download SVHN into data/ (246 MB, checksums verified)
data-cifar10: ## Download CIFAR-10 into data/ (170 MB, checksum verified)
data-%: setup
	$(RUN) scripts/data.py $* $(ARGS)

doctor: setup ## Check this machine (torch, CUDA, data, disk, W&B) and say what can run, in what time
	$(RUN) scripts/doctor.py $(ARGS)

report: setup ## Build tables, figures and the page index.html of every task that has runs (PROFILE=... for one profile)
	$(RUN) scripts/report.py all $(if $(PROFILE),profile=$(PROFILE)) $(ARGS)

compare: setup ## Compare runs side by side: RUNS="results/paper/bibtex/fpi_nn results/paper/bibtex/control/seed0"
	$(RUN) scripts/compare.py $(RUNS) $(ARGS)

setup-bench: $(BENCH)/.installed ## Create .venv-bench, which adds the peers of the benchmark to .venv (0.5 GB)

$(BENCH)/.installed: scripts/bench/requirements.lock $(VENV)/.installed
	@$(RUN) -m venv --clear $(BENCH)
	@$(RUN) -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
	  > "$$($(BENCH)/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/project.pth"
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	  -r scripts/bench/requirements.lock
	@touch $@

bench: setup-bench ## Compare the core with torchdeq, jaxopt and optimistix (ARGS='--json FILE --plot PNG --cases a d')
	PYTHONPATH=. $(BENCH)/bin/python scripts/bench/core.py $(ARGS)

lock: ## Resolve requirements.lock and scripts/bench/requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra suite --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet -o requirements.lock
	uv pip compile pyproject.toml --extra bench --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --constraint requirements.lock --no-annotate \
	  $$(sed -n 's/^\([A-Za-z0-9_.-]*\)==.*/--no-emit-package \1/p' requirements.lock) \
	  --custom-compile-command "make lock" --quiet -o scripts/bench/requirements.lock

clean: ## Remove caches and scratch output (keeps the two .venv, data and results)
	rm -rf outputs multirun wandb build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './$(BENCH)/*' -prune -exec rm -rf {} +
