#!/usr/bin/env bash
# Runs the stages of a corpus (egs/*/run.sh call it), or any module, in the environment of this repository:
#   utils/run.sh --corpus asterisk --help
#   utils/run.sh -m steps.doctor
# It puts the repository's root on Python's path and runs there; NUPTSE_CWD tells the driver where it was called.
# `.venv/bin/python -m steps.doctor`, typed in the root, does the same. Options are checked before anything is installed.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as `sh FILE`
set -euo pipefail
# A service may be started without an input or output, which Python and progress bars take badly.
{ : 3<&0; } 2>/dev/null || exec </dev/null
{ : 3>&1; } 2>/dev/null || exec >/dev/null
{ : 3>&2; } || exec 2>/dev/null # whose own complaint goes nowhere
case "$(readlink /dev/fd/2 || true)" in */run.sh) exec 2>/dev/null ;; esac # where it was closed, bash reads the script there
unset PYTHONHOME # of another Python; PYTHONPATH comes after the packages of .venv (utils/__init__.py)
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"

# Without .venv, answer --help and refuse wrong options with any Python: the driver needs only the standard library for that.
check_options() {
    local python status=0
    for python in python3 python3.{13,12,11,10,9,8} python; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null || continue
        (cd "$ROOT" && NUPTSE_CHECK_OPTIONS=1 exec "$python" -B -m utils.pipeline.driver "$@") || status=$?
        case "$status" in
            0 | 2) exit "$status" ;; # help, or a refusal; anything else: no objection
        esac
        return 0
    done
    case " $* " in
        *" --help "* | *" -h "*) usage; exit 0 ;;
    esac
}

# The help where no Python answers; the driver's own has more.
usage() {
    cat <<'END'
usage: ./run.sh [--recipe NAME] [--stage N] [--stop-stage N] [--config FILE] [--set KEY=VALUE] [--nj N] [--threads N] [--device NAME]
                [--world-size N] [--executor forks|dask] [--scheduler tcp://HOST:PORT]

Runs the stages of a recipe on this corpus, and sets up .venv first. Recipes are the files of recipes/, stages the rows of
docs/stages.md, keys those of docs/settings.md. No Python 3 was found, which the full help needs.
END
}

export NUPTSE_CWD="$PWD"
export PYTHONUTF8=1 # every file is UTF-8, whatever the locale
if ! "$ROOT/utils/setup.sh" --check 2>/dev/null; then
    [[ "${1:-}" == -m ]] || check_options "$@"
    "$ROOT/utils/setup.sh"
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
cd "$ROOT" # or a folder "utils" where the caller is would hide ours
if [[ "${1:-}" == -m ]]; then
    unset NUPTSE_CWD
    exec "$ROOT/.venv/bin/python" "$@"
fi
exec "$ROOT/.venv/bin/python" -m utils.pipeline.driver "$@"
