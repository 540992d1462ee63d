#!/usr/bin/env bash
# Runs the stages of a corpus (egs/*/run.sh call it), or with -m any module, in the environment of this repository:
#   utils/run.sh --corpus asterisk --help
#   utils/run.sh -m steps.doctor
# This is the one place that puts the repository's root on Python's path. Typed by hand, `.venv/bin/python -m steps.doctor`
# does the same from within the root. Modules run in the root; the driver knows where it was called.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
"$ROOT/utils/setup.sh"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" NUPTSE_CWD="$PWD"
cd "$ROOT" # or a folder "utils" where the caller stands would hide ours
if [[ "${1:-}" == -m ]]; then
    unset NUPTSE_CWD
    exec "$ROOT/.venv/bin/python" "$@"
fi
exec "$ROOT/.venv/bin/python" -m utils.pipeline.driver "$@"
