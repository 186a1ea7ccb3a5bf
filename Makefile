# The README shows the plain commands behind every target.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
RUN := PYTHONPATH=src $(BIN)/python
SNAKEMAKE := $(BIN)/snakemake
CORES ?= all
STUDY ?= demo

.PHONY: demo install install-dev test test-long test-slurm lint bench-training bench-levers bench-evaluation bench-attention bench-dry-run bench-generation bench-statistics gpu-check support faults unlock work-folders verify archive schema lock environments accept-data clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | column -t -s "$$(printf '\t')"

demo: install  ## run the study `demo`, write report.html, print its table
	@start=$$SECONDS; \
	$(RUN) -m trainyard.jobs.unlock || exit; \
	$(SNAKEMAKE) --cores $(CORES) --quiet reason --config studies=demo || { \
	  failed=$$?; \
	  $(SNAKEMAKE) --report report.html --config studies=demo --quiet all 2> /dev/null && \
	    echo "report.html shows what failed." >&2; \
	  exit $$failed; \
	}; \
	if [ ! -e report.html ] || [ -n "$$(find results/demo/report -newer report.html -type f -print -quit)" ]; then \
	  $(SNAKEMAKE) --report report.html --config studies=demo --quiet all; \
	fi && \
	$(RUN) -m trainyard.tools.terminal_table results/demo/report/comparison.csv && \
	echo "report.html holds the figures and tables; the demo took $$((SECONDS - start)) s"

install: $(VENV)/installed  ## make .venv with the pinned dependencies

install-dev: $(VENV)/installed-dev

$(VENV)/installed: requirements.lock requirements-colossalai.lock workflow/install.sh
	@workflow/install.sh $(VENV)

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	@$(BIN)/pip install --quiet --requirement requirements-dev.lock
	@touch $@

test: install-dev  ## lint, types and the test suite that CI runs
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not long" --numprocesses 2 --dist loadscope --no-loadscope-reorder --durations 30

test-long: install-dev  ## the tests that take hours (TRAINYARD_MIRROR= for those on real data)
	$(BIN)/python -m pytest -m long

test-slurm: install-dev  ## the tests on a SLURM cluster that they bring up here (as root; installs slurm-wlm and munge)
	tests/slurm/install.sh
	CI=true $(BIN)/python -m pytest -m slow tests/slurm

lint: install-dev  ## ruff, snakefmt, pyright, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile rules
	$(BIN)/pyright
	$(SNAKEMAKE) --lint

bench-training: install  ## our loop beside transformers' Trainer, and on pairs beside its Seq2SeqTrainer (MIRROR=)
	$(RUN) benchmarks/training.py
	$(SNAKEMAKE) --cores $(CORES) --quiet all $(if $(MIRROR),--config mirror=$(MIRROR)) -- \
	  results/data/samsum/t5/train results/data/samsum/t5/tokenizer
	$(RUN) benchmarks/summarisation.py

bench-levers: install  ## what each lever of a step brings on a CPU (ARGS=)
	$(RUN) benchmarks/levers.py $(ARGS)

bench-evaluation: install-dev  ## our evaluation beside lm-evaluation-harness, on SmolLM2-135M and real rows (MIRROR=, ARGS=)
	$(SNAKEMAKE) --cores $(CORES) --quiet all $(if $(MIRROR),--config mirror=$(MIRROR)) -- results/models/smollm2-135m \
	  results/data/hellaswag/rows/validation.parquet results/data/wikitext-2-raw/rows/test.parquet
	$(RUN) benchmarks/evaluation.py $(ARGS)

bench-generation: install  ## our beam search beside transformers' generate, on real dialogues (MIRROR=, ARGS=)
	$(SNAKEMAKE) --cores $(CORES) --quiet all $(if $(MIRROR),--config mirror=$(MIRROR)) -- \
	  results/data/samsum/rows/test.parquet results/data/samsum/gpt2/tokenizer
	$(RUN) benchmarks/generation.py $(ARGS)

bench-attention: install  ## attention within a window beside dense attention: time and memory by length (ARGS=)
	$(RUN) benchmarks/attention.py $(ARGS)

bench-dry-run: install  ## seconds that a dry run of each study, and of 1,000 runs, takes
	$(RUN) benchmarks/dry_run.py

bench-statistics: install  ## how often each statement of the report is wrong, by simulation
	$(RUN) benchmarks/certainty.py

gpu-check:  ## parity, memory and speed on this machine's NVIDIA GPUs, without a network (PYTHON=, ARGS=)
	PYTHONPATH="src$${PYTHONPATH:+:$$PYTHONPATH}" "$${PYTHON:-python3}" -m trainyard.tools.gpu_check $(ARGS)

support: install  ## write the page of what each parallel setting trains from the results of the study parallel-settings
	$(RUN) -m trainyard.tools.parallel_support results/parallel-settings --output docs/reference/parallel-settings.md

faults: install  ## seed faults in probes, and write which of them parity finds for the report
	$(RUN) -m trainyard.tools.parity_faults

unlock: install  ## take away the lock that a killed Snakemake left, if nothing lives that could hold it
	@$(RUN) -m trainyard.jobs.unlock

work-folders: install  ## what interrupted runs have left: size, step, code, age (REMOVE=old: delete that of other code)
	@$(RUN) -m trainyard.tools.work_folders $(if $(REMOVE),--remove $(REMOVE))

verify: install  ## hash inputs and outputs of a study again and say what has changed (STUDY=demo, CONFIG="KEY=VALUE ...")
	@$(RUN) -m trainyard.provenance.verify $(STUDY) $(if $(CONFIG),--config $(CONFIG))

archive: install  ## a study without its data in one zip file, for a paper's appendix (STUDY=demo, OUT=, CONFIG="KEY=VALUE ...", ARGS="--models --anyway")
	@$(RUN) -m trainyard.provenance.archive $(STUDY) $(if $(OUT),--output "$(OUT)") $(ARGS) $(if $(CONFIG),--config $(CONFIG))

schema: install  ## write config/schema and the reference page from the typed models
	$(RUN) -m trainyard.tools.json_schema config/schema
	$(RUN) -m trainyard.tools.config_reference docs/reference/configuration.md

lock:  ## write the lock files and envs/*.yaml anew from requirements*.in and envs/*.in
	workflow/lock.sh

environments: install  ## write envs/*.yaml anew from envs/*.in and the lock files
	$(RUN) -m trainyard.tools.conda_environments

accept-data:  ## accept changed data: forget the record of DATA=NAME (ORIGIN=hub, mirror or files) in config/data.lock.yaml
	$(RUN) -m trainyard.fetch.accept $(DATA) $(ORIGIN)

clean:  ## delete what runs made, but not .venv
	rm -rf results work logs report.html .snakemake
