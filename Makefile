# make run     everything for the sample person, on a fresh machine
# make test    all tests        make check   format, lint, types, import contract, fast tests
# make bench   the benchmarks   make lock    resolve the dependencies anew (needs the network)

PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # compiling every module anew would cost each command 4 s

.PHONY: run test check fast bench lock pictures clean

run: .venv/run.stamp
	$(BIN)/lora-prep run sample_data/people/ada

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=20

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) fast

fast: .venv/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" -q

bench: .venv/dev.stamp
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/verdicts.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/whole_way.py
	$(BIN)/python benchmarks/faults.py
	$(BIN)/python benchmarks/archive.py
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/review.py
	$(BIN)/python benchmarks/dashboard.py

pictures: .venv/dev.stamp
	$(BIN)/python tools/pictures.py
	$(BIN)/python tools/page_pictures.py
	$(BIN)/python tools/terminal_picture.py

clean:
	rm -rf .venv build dist

# Hashed lock files: names, versions and hashes only, so that any package registry serves them.
# The build backend is in them too: nothing is fetched without a hash.
.venv/run.stamp: requirements/run.txt pyproject.toml
	$(PYTHON) tools/check_system.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements/dev.txt
	touch $@

lock:  # needs uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --extra local --group build pyproject.toml -o requirements/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --extra local --extra dev --group build -c requirements/run.txt pyproject.toml -o requirements/dev.txt
