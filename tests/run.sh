#!/usr/bin/env bash
# Runs the tests, after setting up what is missing. With --quick: those that take less than two minutes and need no network.
# Other arguments go to pytest; paths are relative to the root of the repository.
exec "$(dirname "${BASH_SOURCE[0]}")/../utils/run.sh" -m pytest "$@"
