#!/usr/bin/env bash
# Makes the site of docs/, in English and Chinese, in the folder site/: docs/build.sh. Its environment, .tools/site/venv, is its own: MkDocs and
# what it needs, from docs/site/requirements.txt, in half a minute and without root. Whatever MkDocs warns of ends it.
#   docs/build.sh           the site, in site/
#   docs/build.sh --serve   the same, then show it at http://127.0.0.1:8000
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
LIST="$ROOT/docs/site/requirements.txt"
VENV="$ROOT/.tools/site/venv"
STAMP="$VENV/nuptse.stamp" # written last: a checksum of the list that the environment was made from

case "${1:-}" in
    "" | --serve) ;;
    --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "error: unknown option '$1'; there are --serve, --help" >&2; exit 2 ;;
esac

if [[ ! -f "$STAMP" || "$(<"$STAMP")" != "$(cksum <"$LIST")" ]]; then
    rm -rf "$VENV"
    "${NUPTSE_PYTHON:-python3}" -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --requirement "$LIST"
    "$VENV/bin/python" -m pip check --disable-pip-version-check >&2
    cksum <"$LIST" >"$STAMP"
fi
cd "$ROOT"
"$VENV/bin/python" "$ROOT/docs/site/stage.py" "$ROOT/.tools/site/pages"
NO_MKDOCS_2_WARNING=true "$VENV/bin/python" -m mkdocs build --strict --clean --config-file "$ROOT/docs/site/mkdocs.yml"
"$VENV/bin/python" "$ROOT/docs/site/search.py" "$ROOT/site"
echo "written: $ROOT/site/index.html"
if [[ "${1:-}" == --serve ]]; then
    cd "$ROOT/site" && exec "$VENV/bin/python" -m http.server --bind 127.0.0.1 8000
fi
