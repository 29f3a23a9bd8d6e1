# make quickstart  a virtual environment in .venv, then a first study
# make test        all checks and tests; needs nothing done before
# make docs        the documentation site, in docs/_build/html
PYTHON ?= python3
INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test docs
quickstart: .venv/installed
	.venv/bin/seamwise study digits --quick

test: .venv/installed-dev
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest --numprocesses 2 --dist loadfile

docs: .venv/installed-dev
	.venv/bin/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo docs/_build/html/index.html

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "seamwise needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing seamwise and its pinned dependencies into .venv (a few minutes, once)"
	$(INSTALL) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) --editable '.[dev]'
	@touch $@
