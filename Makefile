# The commands of this project; CI runs the same ones. `make setup` does nothing when nothing is
# missing, so every other target asks for it.
#
#   make test ARGS="-k pairs"        make setup FLAVOUR=gpu        PYTHON=python3.12 make setup

SHELL := /bin/sh
BIN := .venv/bin
FLAVOUR ?= auto
WORKERS ?= 2
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup prometheus demo loops test soak serve monitoring lint clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup:  ## prepare .venv (quick when nothing is missing)
	@scripts/setup --flavour $(FLAVOUR)

prometheus: setup  ## a real Prometheus for tests and monitoring; goes on without where there is none
	-@$(BIN)/python scripts/prometheus_programs.py .venv/prometheus

demo: setup  ## score real digits with the bundled model, through the real service
	@$(BIN)/python examples/demo.py $(ARGS)

loops: setup  ## train a small policy in all three loops, the service in another process
	@$(BIN)/python benchmarks/loops/short.py $(ARGS)

test: lint prometheus  ## lint, type-check and run every test that needs no long run (half an hour)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m "not soak and not gpu" $(ARGS)

soak: setup prometheus  ## the long tests, then the benchmarks of speed, on a quiet machine
	$(BIN)/python -m pytest -m soak $(ARGS)
	PYTHON=$(BIN)/python benchmarks/run_all.sh

serve: setup  ## keep the bundled model serving on 127.0.0.1:8000
	$(BIN)/mmreward-serve models/digits-judge $(ARGS)

monitoring: setup prometheus  ## the bundled model under demo load, with a real Prometheus, until Ctrl-C
	@$(BIN)/python monitoring/run.py $(ARGS)

lint: setup  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/mypy

clean:  ## remove .venv, caches and run folders
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist runs *.egg-info
	find client service trainer tests benchmarks examples monitoring -name __pycache__ -prune -exec rm -rf {} +
