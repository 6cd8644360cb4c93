# The recipes of trio-lb. Each does the set-up that it needs; `just` alone lists them.

set positional-arguments

python := env("PYTHON", "python3")

# List the recipes
default:
    @just --list --unsorted

# Run the balancer; without arguments as a demo with three backends of its own
run *args: (_setup ".[tls]" "run")
    @exec .venv/bin/lb run "$@"

# Show the reference, made from the types: just docs timeouts
docs *args: (_setup ".[tls]" "run")
    @exec .venv/bin/lb docs "$@"

# Run the tests, two at a time; with arguments, which go to pytest, one at a time
[no-exit-message]
test *args: _dev
    @exec {{ just_executable() }} _pytest .venv "$@"

# Make the compiled build in .venv-compiled: a few minutes, with a C compiler and the headers of Python
compiled: (_venv ".venv-compiled")
    #!/bin/sh
    set -eu
    stamp=.venv-compiled/compiled.stamp
    if [ -e $stamp ] && [ -z "$(find lb admin pyproject.toml -name '*.py' -newer $stamp)" ]; then exit 0; fi
    echo "just: compiling (a few minutes)" >&2
    # The build puts its modules beside the sources, where the pure build would meet them.
    sources=$(mktemp -d)
    trap 'rm -rf "$sources"' EXIT
    cp -R lb admin pyproject.toml README.md LICENSE "$sources"
    HATCH_BUILD_HOOK_ENABLE_MYPYC=1 {{ just_executable() }} _pip .venv-compiled install "$sources[dev]"
    touch $stamp

# Run the tests on the compiled build
[no-exit-message]
test-compiled *args: compiled
    #!/bin/sh
    set -eu
    # The tests are found behind what is installed, and `lb` beside them is not.
    .venv-compiled/bin/python -c \
        'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/tests.pth", "w").write(sys.argv[1])' "$PWD"
    PYTHONSAFEPATH=1 exec {{ just_executable() }} _pytest .venv-compiled --override-ini=pythonpath= "$@"

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

# Replace the program so many times under 500 requests a second, of which none may fail
upgrades times="20": _dev
    @UPGRADES=${1#times=} exec .venv/bin/python -m pytest -q -o faulthandler_timeout=0 tests/system/test_upgrade.py -k traffic

# Swap the certificate so many times under 500 requests a second, of which none may fail
swaps times="100": _dev
    @SWAPS=${1#times=} exec .venv/bin/python -m pytest -q -s -o faulthandler_timeout=0 tests/system/test_certificate_swaps.py

# Let sslyze and testssl judge our TLS by Mozilla's guidelines, and say what could not be had: some minutes
tls-check: _dev (_venv ".venv-sslyze")
    #!/bin/sh
    set -eu
    # It has an environment of its own, since it wants an older cryptography than we do.
    if [ -e .venv-sslyze/bin/sslyze ] || {{ just_executable() }} _pip .venv-sslyze install sslyze 'cryptography<47'; then
        export SSLYZE="$PWD/.venv-sslyze/bin/sslyze"
    fi
    JUDGES=1 exec .venv/bin/python -m pytest -q -rs -o faulthandler_timeout=0 tests/system/test_tls_clients.py

# Stop, kill and cut three etcds for so many minutes, while operators drain over five balancers; then find a planted bug
jepsen minutes="10": _dev
    @FAULTS_SECONDS=$((${1#minutes=} * 60)) exec .venv/bin/python -m pytest -q -o faulthandler_timeout=0 tests/cluster/test_no_lost_drain.py

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

# Measure CPU for each request beside the peers (--write: into the README), or --against another commit
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
    rm -rf .venv .venv-compiled .venv-sslyze dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
    find . -name __pycache__ -prune -exec rm -rf {} +

_dev: (_setup ".[dev]" "dev")

# The tests, with the Python of this environment
[no-exit-message]
_pytest folder *args:
    #!/bin/sh
    set -eu
    folder=$1
    shift
    # Where it is set, as in many containers, each program that a test starts would compile itself again.
    export PYTHONDONTWRITEBYTECODE=
    case "$*" in
    "" | --everything | --override-ini=pythonpath=) set -- --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@" ;;
    esac
    exec "$folder/bin/python" -m pytest "$@"

# A virtual environment with what is asked for, renewed when pyproject.toml has changed
_setup what stamp: (_venv ".venv")
    #!/bin/sh
    set -eu
    if [ -e .venv/{{ stamp }}.stamp ] && [ ! pyproject.toml -nt .venv/{{ stamp }}.stamp ]; then exit 0; fi
    echo "just: setting up .venv (once)" >&2
    {{ just_executable() }} _pip .venv install --editable '{{ what }}'
    touch .venv/{{ stamp }}.stamp

# An empty virtual environment
_venv folder:
    #!/bin/sh
    set -eu
    if [ -x {{ folder }}/bin/python ]; then exit 0; fi
    {{ python }} -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || { echo "just: Python 3.11 or newer is needed; PYTHON=python3.12 just ... names one" >&2; exit 1; }
    # Debian splits ensurepip off; the pip that installed just can serve the new environment.
    {{ python }} -m venv {{ folder }} >/dev/null 2>&1 || {{ python }} -m venv --clear --without-pip {{ folder }}

# The pip of this environment or, where it has none, another one that works there
_pip folder *args:
    #!/bin/sh
    set -eu
    folder=$1
    shift
    if "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
        exec "$folder/bin/python" -m pip --quiet --disable-pip-version-check "$@"
    fi
    exec {{ python }} -m pip --python "$folder/bin/python" --quiet --disable-pip-version-check "$@"
