# Everything a newcomer needs, on a fresh Debian or Ubuntu with make and Python 3.11, 3.12 or 3.13:
#
#   make run      set up, start the whole thing on SQLite with the sandbox bank and a demo shop, say where to click
#   make test     set up, run every test on SQLite and on PostgreSQL (a real server, no installation)
#
# and for those who stay:
#
#   make check    make lint, then make test: what CI runs
#   make test-nightly   the simulations alone, with EXAMPLES new worlds each (3000): hours, and new chances each time
#   make lint     style, formatting, types, which way imports point, code that nothing uses
#   make format   mend what can be mended by itself
#   make demo     a day of the demo shop in one go: purchases, redemptions, the nightly run, the bank's answer
#   make audit    recompute the books of `make run` from their rows and compare
#   make bench    measure, against a baseline taken in the same run
#   make torture  kill, stop and starve a whole wallet under load for MINUTES (3): is anything lost or doubled?
#   make screenshots   the pictures of the pages in docs/screenshots
#   make clean    remove what these made, the demo's books included
#
# No activation is needed. Whatever pip reads (PIP_INDEX_URL, PIP_CERT, pip.conf, …) is respected. Arguments for
# pytest go in TESTS, the number of its workers in WORKERS, one database in DATABASE:
#
#   make test TESTS="tests/wallet -k redeem" WORKERS=2 DATABASE=sqlite
#
# Every test runs on both databases. Of a test with many cases each case runs on one of them, in turn; of the slow
# tests (kills, races, browsers, towns) one in seven runs, unless TESTS names some. EVERY_CASE=yes runs all, as CI does:
#
#   make test EVERY_CASE=yes
#
# What is chosen by chance (which slow tests, the worlds of simulations, what is tortured) begins with SEED, which each
# run draws anew and prints; given again, it is the same run again:
#
#   make test SEED=42
#
# Databases share the MINUTES of `make torture`:
#
#   make torture MINUTES=0.5 DATABASE=postgresql SEED=42

VENV := .venv
PYTHON := $(VENV)/bin/python
WORKERS = $(shell nproc)
DATABASE = both
TESTS =
EVERY_CASE =
EXAMPLES = 3000
MINUTES = 3
SEED =
SOURCES = $(wildcard app.py cli web settlement wallet sandbox_bank obole_demo benchmarks torture tests migrations)
SETTINGS = var/settings.env

# One recipe at a time, so that two goals do not install into one environment at once; pytest is parallel by itself.
.NOTPARALLEL:
.PHONY: help run test test-nightly check lint format demo audit bench torture screenshots clean chromium
.DEFAULT_GOAL := help

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

run: $(VENV)/run.stamp
	@$(PYTHON) -m obole_demo run

demo: $(VENV)/run.stamp
	@$(PYTHON) -m obole_demo batch

# The settings are those of the environment or, where it has none, those of `make run`.
audit: $(VENV)/run.stamp
	@if [ -z "$$OBOLE_DATABASE_URL" ]; then \
	    [ -f $(SETTINGS) ] || { echo "There are no books yet ($(SETTINGS)): make run keeps some." >&2; exit 1; }; \
	    set -a; . ./$(SETTINGS); set +a; \
	fi; \
	$(PYTHON) -m flask --app app audit

bench: $(VENV)/test.stamp
	@$(PYTHON) -m benchmarks

torture: $(VENV)/test.stamp
	@$(PYTHON) -m torture --minutes $(MINUTES) --database $(DATABASE) $(if $(SEED),--seed $(SEED))

screenshots: $(VENV)/test.stamp chromium
	@$(PYTHON) -m tests.browser.screenshots

test: $(VENV)/test.stamp chromium
	@$(PYTHON) -m pytest -n $(WORKERS) --dist worksteal --database $(DATABASE) $(if $(EVERY_CASE),--every-case) \
	    $(if $(SEED),--seed $(SEED)) $(TESTS)

test-nightly: $(VENV)/test.stamp
	@DIALECTS_EXAMPLES=$(EXAMPLES) STATEFUL_EXAMPLES=$(EXAMPLES) $(PYTHON) -m pytest -n $(WORKERS) --timeout 0 \
	    --database $(DATABASE) $(if $(SEED),--seed $(SEED)) tests/dialects/test_dialects.py tests/test_stateful.py $(TESTS)

check: lint test

# All three, so that one report shows all that is wrong.
lint: $(VENV)/test.stamp
	@failed=0; \
	$(PYTHON) -m ruff check --output-format concise . || failed=1; \
	$(PYTHON) -m ruff format --check . || failed=1; \
	$(PYTHON) -m mypy $(SOURCES) || failed=1; \
	$(VENV)/bin/lint-imports --no-cache || failed=1; \
	$(PYTHON) -m tests.dead_code || failed=1; \
	exit $$failed

format: $(VENV)/test.stamp
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

clean:
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The pages are tested in a real browser, which no Python package brings along.
chromium:
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome; do \
	    if [ -n "$$name" ] && command -v "$$name" >/dev/null 2>&1; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing Chromium, to test the pages in …"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else \
	    echo "The tests of the pages need Chromium (sudo apt install chromium, or set CHROMIUM)." >&2; exit 1; \
	fi

# A stamp is newer than the requirements it installed; without that, make installs them.
$(VENV)/run.stamp: requirements.txt | $(PYTHON)
	@echo "Installing what it takes to run (requirements.txt) …"
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m ensurepip
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/test.stamp: requirements-dev.txt requirements.txt | $(PYTHON)
	@echo "Installing what it takes to run and test (requirements-dev.txt) …"
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m ensurepip
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/run.stamp

# The newest Python that fits and can make environments (Debian keeps that part in a package of its own).
# Also made again when it points to a Python that has since gone.
$(PYTHON):
	@found=; bare=; \
	for python in python3.13 python3.12 python3.11 python3; do \
	    $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue; \
	    if $$python -c 'import ensurepip, venv' 2>/dev/null; then found=$$python; break; fi; \
	    bare=$${bare:-$$python}; \
	done; \
	if [ -n "$$found" ]; then \
	    echo "Making $(VENV) with $$($$found --version) …"; \
	    exec "$$found" -m venv --clear $(VENV); \
	fi; \
	if [ -n "$$bare" ]; then \
	    version=$$($$bare -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "Python $$version is here but cannot make virtual environments. On Debian and Ubuntu:" >&2; \
	    echo "    apt install python$$version-venv" >&2; \
	else \
	    echo "Obole needs Python 3.11, 3.12 or 3.13; found: $$(python3 --version 2>/dev/null || echo none)." >&2; \
	    echo "On Debian and Ubuntu: apt install python3 python3-venv" >&2; \
	fi; \
	exit 1
