#!/usr/bin/env bash
# Runs the tests, and sets up .venv first if it is missing.
#   ./tests/run.sh                          all tests, about 15 minutes on two cores
#   ./tests/run.sh --quick                  those that take little time and no network, about three minutes
#   ./tests/run.sh tests/test_text.py -x    any options of pytest; paths are relative to the root of the repository
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as `sh FILE`
if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
    sed -n '2,/^if/{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit 0
fi
parallel=()
case "$*" in '' | --quick) parallel=(--numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder) ;; esac # a process is 1 to 2 GB
exec "$(dirname "${BASH_SOURCE[0]}")/../utils/run.sh" -m pytest "${parallel[@]}" "$@"
