# The recipes of trio-lb. Each does the set-up that it needs; `just` alone lists them.

set positional-arguments

python := env("PYTHON", "python3")

# List the recipes
default:
    @just --list --unsorted

# Run the balancer; without arguments as a demo with three backends of its own
run *args: (_setup "." "run")
    @exec .venv/bin/lb run "$@"

# Run the tests, two at a time; with arguments, which go to pytest, one at a time
[no-exit-message]
test *args: _dev
    #!/bin/sh
    set -eu
    # Where it is set, as in many containers, each program that a test starts would compile itself again.
    export PYTHONDONTWRITEBYTECODE=
    case "$*" in
    "" | --everything) set -- --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@" ;;
    esac
    exec .venv/bin/python -m pytest "$@"

# Make up damaged connections and answers for so many minutes
fuzz minutes="10": _dev
    #!/bin/sh
    set -eu
    minutes=${1#minutes=}
    end=$(($(date +%s) + minutes * 60))
    while [ "$(date +%s)" -lt $end ]; do
        FUZZ_EXAMPLES=1000 .venv/bin/python -m pytest -q tests/checks/test_fuzz.py
    done

# Ask the running API whatever its OpenAPI document allows, and more, for so many minutes
fuzz-api minutes="10": _dev
    #!/bin/sh
    set -eu
    minutes=${1#minutes=}
    FUZZ_SECONDS=$((minutes * 60)) .venv/bin/python -m pytest -q -o faulthandler_timeout=0 tests/system/test_schema.py

# Send the table of HTTP checks to HAProxy and nginx, which must be installed, and print how we differ
peers-http: _dev
    @exec .venv/bin/python -m tests.peers.http

# Check format, lint, types, the direction of imports and the rules of the house
check: _dev
    .venv/bin/ruff format --check
    .venv/bin/ruff check
    .venv/bin/mypy
    .venv/bin/lint-imports
    .venv/bin/python -m pytest -q tests/test_house.py

# Measure beside the peers: CPU for each request, medians; --write puts the table into the README
bench *args: (_setup ".[dev,bench]" "bench")
    @exec .venv/bin/python -m tests.bench "$@"

# Measure what watching costs: latency at half load, with nobody who reads admin and with a hundred
bench-admin *args: _dev
    @exec .venv/bin/python -m tests.bench.admin "$@"

# Mend what can be mended by machine
fix: _dev
    .venv/bin/ruff check --fix
    .venv/bin/ruff format

# Remove what the recipes made
clean:
    rm -rf .venv dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
    find . -name __pycache__ -prune -exec rm -rf {} +

_dev: (_setup ".[dev]" "dev")

# A virtual environment with what is asked for, renewed when pyproject.toml has changed
_setup what stamp:
    #!/bin/sh
    set -eu
    if [ -e .venv/{{ stamp }}.stamp ] && [ ! pyproject.toml -nt .venv/{{ stamp }}.stamp ]; then exit 0; fi
    echo "just: setting up .venv (once)" >&2
    if [ ! -x .venv/bin/python ]; then
        {{ python }} -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
            || { echo "just: Python 3.11 or newer is needed; PYTHON=python3.12 just ... names one" >&2; exit 1; }
        # Debian splits ensurepip off; the pip that installed just can serve the new environment.
        {{ python }} -m venv .venv >/dev/null 2>&1 || {{ python }} -m venv --clear --without-pip .venv
    fi
    if .venv/bin/python -m pip --version >/dev/null 2>&1; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '{{ what }}'
    else
        {{ python }} -m pip --python .venv/bin/python install --quiet --disable-pip-version-check --editable '{{ what }}'
    fi
    touch .venv/{{ stamp }}.stamp
