# make demo: install, train three systems on the embedded corpus, compare them.   make test, make check: what CI runs.
# make site: a website from README.md and docs/.
PYTHON ?= python3
VENV ?= .venv
# a clean environment makes its own .venv; an active one (CI's) is used as it is
BIN := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV)/bin,$(VENV)/bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo install install-dev test test-all check format corpus site clean

DEMO := rnn_encdec rnnsearch transformer
DEMO_RUNS := $(DEMO:%=runs/demo/%)

demo: install
	@$(BIN)/nmt-prepare demo_rnnsearch > /dev/null
	@$(BIN)/python scripts/train_side_by_side.py demo_rnnsearch,demo_rnn_encdec demo_transformer
	$(BIN)/nmt-align runs/demo/rnnsearch --source data/embedded/test.de --target data/embedded/test.en \
		--gold data/embedded/test.align --heatmap 1,2,3 --heatmap-dir runs/demo/heatmaps -o runs/demo/alignments.txt
	$(BIN)/nmt-compare $(DEMO_RUNS) -o runs/demo/report

install: $(BIN)/.nmt-installed

install-dev: $(BIN)/.nmt-installed-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/.nmt-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing nmt into $(BIN) (the downloads take a while the first time)"
	$(PIP) install -c constraints.txt -e '.[fast]'
	@touch $@

$(BIN)/.nmt-installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing nmt and its test tools into $(BIN) (the downloads take a while the first time)"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(BIN)/.nmt-installed

# three workers on two cores, because tests of processes that wait for each other sleep a quarter of the time; a file
# stays with one worker, because of its fixtures; the longest files come first (tests/conftest.py says which); modules
# are compiled once and kept, also where the environment says not to, since tests start many processes
test test-all: export PYTHONDONTWRITEBYTECODE =
test: install-dev
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not slow'

# all tests, with those that run a whole script of scripts/, which take minutes together
test-all: install-dev
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: install-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: install-dev
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

site: install-dev
	$(BIN)/python scripts/build_site.py

corpus: install
	$(BIN)/python -m tools.embedded_corpus data/embedded

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
