# make install | demo | test | test-slow | lint      (DEVICE=cuda runs the tests on a GPU)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DEVICE ?= cpu
BIN := .venv/bin

.PHONY: install demo test test-slow lint evaluate

install: .venv/installed

# torch first and by itself: what comes with it decides which build the other packages find.
.venv/installed: setup.cfg pyproject.toml tests/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c tests/constraints.txt torch
	$(BIN)/python -m pip install -q -c tests/constraints.txt -e '.[demo,generative,train,test]'
	touch $@

demo: install
	$(BIN)/python -m monai_diffae.demo --bundles_root bundles --output_dir demo_output

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest -m 'not slow' --device $(DEVICE)

test-slow: install
	$(BIN)/python -m pytest -m slow --device $(DEVICE)

# More numbers about bundles/brain_slices_diffae (digits_quality.py beside it needs weights that are not there yet)
evaluate: install
	$(BIN)/python tests/benchmarks/brain_slices_quality.py --device $(DEVICE)
