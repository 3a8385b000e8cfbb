# make install | demo | test | test-slow | test-oldest | test-newest | lint | bundles | evaluate | bench | tutorials      (DEVICE=cuda runs the tests on a GPU)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DEVICE ?= cpu
# Processes that share the tests, each with one thread: small networks gain nothing from more.
JOBS ?= auto
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --device $(DEVICE)
BIN := .venv/bin

.PHONY: install demo test test-slow test-oldest test-newest lint bundles evaluate bench tutorials

install: .venv/installed

# torch first and by itself: what comes with it decides which build the other packages find.
.venv/installed: setup.cfg pyproject.toml tests/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c tests/constraints.txt torch
	$(BIN)/python -m pip install -q -c tests/constraints.txt -e '.[demo,export,generative,parquet,tracking,train,tutorials,test]'
	touch $@

# With MEDNIST=DIR, which holds the folder MedNIST, and HIPPOCAMPUS=DIR, which holds Task04_Hippocampus, on real images
demo: install
	$(BIN)/python -m monai_diffae.demo --bundles_root bundles --output_dir demo_output \
	  $(if $(MEDNIST),--mednist "$(MEDNIST)") $(if $(HIPPOCAMPUS),--hippocampi "$(HIPPOCAMPUS)")

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(PYTEST) -m 'not slow'

test-slow: install
	$(PYTEST) -m slow

# The suite with other versions, each in an environment of its own, and a row for it in tests/versions/results.csv
test-oldest test-newest: test-%: tests/versions/%.txt
	$(PYTHON) tests/versions/run_suite.py --versions $< --venv .venv-$* --jobs $(JOBS) --table tests/versions/results.csv

# Their configs/ from bundle.yaml and what they share, see monai_diffae/bundles/parts/README.md
bundles: install
	$(BIN)/python -m monai_diffae.bundles bundles/*

# The numbers in docs/metrics.csv of the bundles with weights, and pages about them in evaluation/
EVALUATE = $(BIN)/python -m monai_diffae evaluate
BRAINS = $(BIN)/python -m monai_diffae.datasets.brain_slices --spacing 3 --lesions balls
evaluate: install
	$(EVALUATE) natural_images_diffae --output_dir evaluation/natural_images_diffae --device $(DEVICE) \
	  --num_images 32 --num_samples 32 --step_counts "[20,50]"
	cp evaluation/natural_images_diffae/metrics.csv bundles/natural_images_diffae/docs/
	test -e evaluation/held_out || $(BRAINS) --output_dir evaluation/held_out --num_subjects 32 --seed 1000
	test -e evaluation/train || $(BRAINS) --output_dir evaluation/train --num_subjects 80 --seed 0
	$(EVALUATE) brain_slices_diffae --output_dir evaluation/brain_slices_diffae --device $(DEVICE) \
	  --dataset_dir evaluation/held_out --train_dataset_dir evaluation/train \
	  --num_images 24 --num_samples 24 --step_counts "[10,20]"
	cp evaluation/brain_slices_diffae/metrics.csv bundles/brain_slices_diffae/docs/

# The table of speed in tests/benchmarks/results, by nothing else running; a stopped run goes on
bench: install
	$(BIN)/python tests/benchmarks/bench.py --device $(DEVICE)

# The notebooks from their scripts, with new outputs
tutorials: install
	$(BIN)/python tutorials/execute.py
