# One command each on a machine that has only Python >= 3.11: the environment is made on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv

.PHONY: demo test lint fast slow ray bench docs lock sbom clean

demo: .venv/ready
	$(BIN)/m2fnet demo --out runs/demo

# Runs all three even if one of them fails, and fails in the end all the same.
test: .venv/ready
	@echo "Lint and types take a minute or two, fast tests about 13 minutes, slow tests about 25 (on two cores)."
	@start=$$(date +%s); $(MAKE) --no-print-directory -j1 --keep-going lint fast slow; code=$$?; \
		echo "make test took $$((($$(date +%s) - start + 30) / 60)) minutes."; exit $$code

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fast: .venv/ready
	$(BIN)/pytest -n 2 -m "not slow and not bench and not ray" --durations 15

slow: .venv/ready
	$(BIN)/pytest -n 2 -m slow --dist worksteal --durations 40 -rs

# What a cluster goes through: killed workers, machines that leave and come.
ray: .venv/ready
	$(BIN)/pytest -m ray --durations 0

# The scripts of bench/ in their small form; their figures mean nothing on a busy machine. They are kept in FIGURES, for
# bench/compare.py.
FIGURES ?= build/bench
bench: .venv/ready
	M2FNET_FIGURES=$(abspath $(FIGURES)) $(BIN)/pytest -m bench --durations 0

# Reads the sources without running them and needs no network.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

# Re-made whenever the locked versions or the package's own metadata change.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"m2fnet needs Python >= 3.11, {sys.executable} is {v.major}.{v.minor}; run: make PYTHON=/path/to/python3.11")'
	test -x $(UV) || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(UV) pip install --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(UV) pip install --python $(BIN)/python --no-build-isolation --no-deps --editable .
	touch $@

# Versions and hashes for every platform and Python the project supports, and no registry address.
lock:
	test -x $(UV) || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--group dev --group bench --all-extras pyproject.toml --output-file requirements.lock

# What a release is made of, for those who check supply chains: CycloneDX, written by its own tool, which is fetched.
sbom: .venv/ready
	mkdir -p dist
	$(UV) tool run --from "cyclonedx-bom>=7" cyclonedx-py requirements requirements.lock \
		--pyproject pyproject.toml --output-file dist/m2fnet.cdx.json

clean:
	rm -rf .venv build dist site
