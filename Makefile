# make demo        trains LeNet-5 on real handwritten digits and prints what it reached
# make test        every check, without a network or data; with CONVSCOPE_DATA also on real images
# make test-all    the whole of every row of the fault matrix too, and a Ray cluster of two nodes
# make kill-storm  50 times `kill -9` at random moments: every continued run is bit-identical
# make clean       removes .venv and caches; never runs/
#
# Needs Python 3.11 or newer (PYTHON=... to choose one), pip and make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-all checks kill-storm clean

export PYTHON ?= python3
PY := .venv/bin/python
# Tools as modules: where the base Python has them, .venv has no command of that name.
# One thread per worker, or two workers wait for each other's threads.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --quiet --no-header
PROJECT := pyproject.toml constraints.txt .ci/set-up

help:
	@sed -n 's/^# make/make/p' Makefile

.venv/demo.stamp: $(PROJECT)
	@.ci/set-up ""
	@touch $@

.venv/test.stamp: $(PROJECT)
	@.ci/set-up "[dev]"
	@touch .venv/demo.stamp $@

.venv/all.stamp: $(PROJECT)
	@.ci/set-up "[dev,ray]"
	@touch .venv/demo.stamp .venv/test.stamp $@

demo: .venv/demo.stamp
	@.venv/bin/convscope train

checks: .venv/test.stamp
	@.ci/phase "ruff format --check" $(PY) -m ruff format --check .
	@.ci/phase "ruff check" $(PY) -m ruff check .
	@.ci/phase "mypy --strict" $(PY) -m mypy

test: checks
	@$(PYTEST) -m "not slow"

test-all: .venv/all.stamp checks
	@$(PYTEST)

kill-storm: .venv/test.stamp
	@$(PY) tests/train/kill_storm.py 50

clean:
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build .coverage
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
