#!/usr/bin/env bash
# Every stage of a recipe on this corpus; --help tells more.
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd) && exec "$here/../../utils/run.sh" --corpus "$here" "$@"
