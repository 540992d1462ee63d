#!/usr/bin/env bash
# Draws docs/pictures/terminal.svg, the picture of the README, from a real run: docs/site/terminal.sh BUNDLE PROMPT.wav
# BUNDLE is that of ./egs/asterisk/run.sh --recipe whisper_wordvec, PROMPT.wav asterisk's en/confbridge-pin of the test set, which says "hash":
# a word that the training text lacks. docs/build.sh makes the environment that draws.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
bundle="$(realpath "$1")"
prompt="$(realpath "$2")"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
ln -s "$bundle" bundle
cp "$prompt" prompt.wav
export PATH="$ROOT/.venv/bin:$PATH" PYTHONPATH="$ROOT"
"$ROOT/.tools/site/venv/bin/python" "$ROOT/docs/site/record.py" --to "$ROOT/docs/pictures/terminal.svg" --width 92 --height 12 \
    'python -m steps.listen --bundle bundle --file prompt.wav' \
    'echo hash > names.txt    # a word that training never had: its vector is enough' \
    'python -m steps.listen --bundle bundle --file prompt.wav --words names.txt'
