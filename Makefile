# make demo   set up .venv and run the embedded study to its report      (CORES=n, default all)
# make test   set up .venv and run every test
# make attacks   what this machine's sandbox withstands; ends with one line of JSON for each tier
# make test-containers   builds the images, runs the miniature study in them, alone and on SLURM; root, Debian (ATTACKS=1: every attack)
# make crate-validator   for the tests: the RO-Crate community's validator, in an environment of its own; needs a network
# make vllm   an interpreter that has vLLM, for config/qwen7b.yaml: .venv/vllm/bin/python; needs a network
# make parity   whether our engine judges as MLE-Dojo's own does; ends with one line of JSON
# make plan   what a study will cost before it runs     (CONFIG=config/qwen7b.yaml, MEASURED=…; PROFILE=slurm, JOBS=1: each job)
# make competitions   MLE-Dojo's 202 competitions, and what is missing to download them
# make diff BEFORE=before   what moved since that copy of a study's results (AFTER=results/embedded)
# make resume   go on after a kill or a crash, on one machine or, with PROFILE=slurm, on a cluster
# make cluster-check   what this cluster offers, and what to write into slurm/config.yaml
# make test-cluster   a study through `snakemake --profile slurm` on a SLURM started here; root, Debian (OPTIONAL=1: or says why not)
#
# On a machine without a GPU, point TORCH_INDEX at PyTorch's CPU wheel index to avoid gigabytes of
# CUDA libraries:  make demo TORCH_INDEX=<address of the index>

CORES ?= all
PYTHON ?= python3.11
TORCH_INDEX ?=
STUDY ?= results/embedded
CONFIG ?= config/config.yaml
MEASURED ?=
JOBS ?=
ATTACKS ?= 3
BEFORE ?=
AFTER ?= $(STUDY)
OPTIONAL ?=
VENV := .venv
BIN := $(VENV)/bin
# One thread per process: parallelism is between jobs, and thread counts must not change results.
ENVIRONMENT := PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
# Tests fetch no model; a study may name one of the hub.
OFFLINE := $(ENVIRONMENT) HF_HUB_OFFLINE=1

# How make resume calls Snakemake, as in OPTIONS="--configfile config/qwen7b.yaml"; the plan reads the profile, too.
PROFILE ?=
OPTIONS ?=

.PHONY: demo test test-containers test-cluster attacks parity plan diff resume cluster-check competitions \
	benchmarks crate-validator vllm install clean
.DELETE_ON_ERROR:

demo: install
	$(ENVIRONMENT) $(BIN)/snakemake --cores $(CORES)
	$(ENVIRONMENT) $(BIN)/snakemake --report $(STUDY)/report.zip
	@cat $(STUDY)/headline.txt
	@echo "report: $(STUDY)/report.zip (unpack it and open report.html)"
	@echo "episodes: $(STUDY)/trajectory_browser/index.html"

test: install
	$(OFFLINE) $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

test-containers: install
	$(OFFLINE) PYTHONPATH=tests:workflow/rules $(BIN)/python -m containers --attacks-every $(ATTACKS)

attacks: install
	$(OFFLINE) PYTHONPATH=tests $(BIN)/python -m attacks

competitions: install
	@$(ENVIRONMENT) $(BIN)/python scripts/list_competitions.py

parity: install
	$(OFFLINE) PYTHONPATH=tests $(BIN)/python -m parity --all

plan: install
	@$(ENVIRONMENT) $(BIN)/python workflow/plan.py $(CONFIG) $(if $(MEASURED),--measured $(MEASURED)) \
		$(if $(PROFILE),--profile $(PROFILE)) $(if $(JOBS),--jobs)

diff: install
	@$(ENVIRONMENT) $(BIN)/python scripts/diff_results.py --before $(BEFORE) --after $(AFTER)

resume: install
	$(ENVIRONMENT) $(BIN)/python scripts/resume.py -- \
		$(if $(PROFILE),--profile $(PROFILE),--cores $(CORES)) $(OPTIONS)

cluster-check: install
	@$(ENVIRONMENT) $(BIN)/python scripts/check_cluster.py

test-cluster: install
	$(OFFLINE) tests/cluster/with_slurm.sh timeout --verbose 20m $(BIN)/pytest -vv --exitfirst tests/cluster \
		$(if $(OPTIONAL),|| [ $$? = 77 ])

# Its dependencies do not go with ours. It would fetch the two contexts whenever it is used; the profiles it has.
crate-validator: install
	$(BIN)/python -m venv $(VENV)/crate-validator
	$(VENV)/crate-validator/bin/pip install -q roc-validator==0.13.0
	$(VENV)/crate-validator/bin/rocrate-validator -y cache warm --cache-path $(VENV)/crate-validator/contexts \
		--url https://w3id.org/ro/crate/1.1/context --url https://w3id.org/ro/terms/workflow-run/context \
		|| { rm -f $(VENV)/crate-validator/contexts.sqlite; false; }

vllm:
	sh envs/vllm.sh $(VENV)/vllm $(PYTHON)

benchmarks: install
	$(OFFLINE) $(BIN)/python -m benchmarks

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml envs/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep -o '^torch==[^ ]*' envs/constraints.txt)"
	$(BIN)/pip install -q -c envs/constraints.txt -e ".[competitions,mle-dojo,rollouts,training,analysis,workflow,tests]"
	$(BIN)/pip check
	touch $@

clean:
	rm -rf $(VENV) results .snakemake
