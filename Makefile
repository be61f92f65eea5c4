# make demo: the whole job on an embedded data set. make test: every test. make check: style and types.
# make docs: the site, in site/.
# make fuzz: ten minutes of odd and damaged files for every reader; ARGS='coco --minutes 60' chooses.
# make bench: the table of speed, of this machine, in benchmarks/.
# The first of them makes .venv and installs into it; later ones find it ready.

FIND := for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done
READY := .venv/ready
BIN := .venv/bin

.PHONY: demo test check docs bench fuzz install clean

demo: $(READY)
	$(BIN)/deft demo --out runs/demo

test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs auto -c docs -d build/doctrees . site

bench: $(READY)
	$(BIN)/python benchmarks/bench.py

fuzz: $(READY)
	$(BIN)/python -m fuzz $(ARGS)

install: $(READY)

$(READY): pyproject.toml
	@python=$$($(FIND)); \
	if [ -z "$$python" ]; then echo "deft needs Python 3.11 or newer with venv: none of python3 ... python3.14 is (name one with PYTHON=path; on Debian: apt-get install python3-venv)"; exit 2; fi; \
	"$$python" -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf .venv runs/demo build site docs/api
