#!/usr/bin/env bash
# Runs the tests, after setting up what is missing; arguments go to pytest (paths as seen from the repository's root).
exec "$(dirname "${BASH_SOURCE[0]}")/../utils/run.sh" -m pytest "$@"
