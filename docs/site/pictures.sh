#!/usr/bin/env bash
# Draws a picture of the README or of a tutorial from a real run: docs/site/pictures.sh NAME ARGUMENT... docs/build.sh makes the environment that
# draws.
#   terminal BUNDLE RECORDING                   of the README: the bundle of ./egs/asterisk/run.sh --recipe whisper_wordvec, and asterisk's
#                                               en/confbridge-pin of the test set, which says "hash", a word that the training text lacks
#   own-corpus BUNDLE RECORDING RECORDING       two recordings of digits
#   home-assistant BUNDLE RECORDING             jarvis, and an order of home.yaml on that page
#   searching BUNDLE FOLDER WORD WORD           a screenshot of the page of hits, by chromium
#   new-language FOLDER                         Common Voice, with de/ in it
#   chatglm MODEL                               a GGUF file or a folder
#   cluster FOLDER                              yesno's waves_yesno
#   mandarin BUNDLE RECORDING RECORDING         of aishell_sample, with the words in names.txt on that page
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
page="$1" width=100
shift
given=()
for one in "$@"; do
    if [[ -e "$one" ]]; then given+=("$(realpath "$one")"); else given+=("$one"); fi
done
picture="$ROOT/docs/pictures/$page.svg"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export PATH="$ROOT/.venv/bin:$PATH" PYTHONPATH="$ROOT"

# The Nth block in a language of the page.
block() {
    awk -v fence="\`\`\`$1" -v n="$2" '$0 == fence { k++; on = (k == n); next } /^```/ { on = 0 } on' "$ROOT/docs/$page.md"
}
draw() {
    "$ROOT/.tools/site/venv/bin/python" "$ROOT/docs/site/record.py" --to "$picture" --width "$width" "$@"
    sed -i "s#$folder/##g" "$picture"
}

case "$page" in
    terminal)
        ln -s "${given[0]}" bundle
        cp "${given[1]}" prompt.wav
        width=92
        draw --height 12 'python -m steps.listen --bundle bundle --file prompt.wav' \
            'echo hash > names.txt    # a word that training never had: its vector is enough' \
            'python -m steps.listen --bundle bundle --file prompt.wav --words names.txt'
        ;;
    own-corpus)
        ln -s "${given[0]}" bundle
        cp "${given[@]:1}" .
        draw --height 10 'ls *.wav' 'python -m steps.recognise --bundle bundle *.wav'
        ;;
    home-assistant)
        ln -s "${given[0]}" bundle
        ln -s "${given[1]}" kitchen.wav
        block yaml 1 >home.yaml
        draw --height 10 'python -m steps.listen --bundle bundle --grammar home.yaml --wake jarvis --file kitchen.wav'
        ;;
    searching)
        ln -s "${given[0]}" bundle
        cp -r "${given[1]}" lectures
        python -m steps.index --bundle bundle --index lectures.index --nj 1 lectures
        python -m steps.find --bundle bundle --index lectures.index --html hits.html "${given[@]:2}"
        chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=900,340 --user-data-dir="$folder/chromium" \
            --virtual-time-budget=8000 --screenshot="$ROOT/docs/pictures/searching.png" "file://$folder/hits.html"
        ;;
    new-language)
        export NUPTSE_EXP="$folder/exp"
        ln -s "$ROOT/egs" egs
        ln -s "${given[0]}" cv
        draw --height 18 --pause 0.5 "egs/common_voice/run.sh --set data.language=de --set lang.units=phone --set data.source=cv \
--stop-stage audit 2>&1 | grep -E '^(test|dev|train|[0-9]+ (words|rec))' | cut -c1-98"
        ;;
    chatglm)
        ln -s "${given[0]}" "$(basename "${given[0]}")"
        block python 1 >near.py
        draw --height 18 "python near.py $(basename "${given[0]}")"
        ;;
    cluster)
        export NUPTSE_EXP="$folder/exp"
        ln -s "$ROOT/egs" egs
        ln -s "${given[0]}" waves_yesno
        draw --height 16 --pause 0.5 "egs/yesno/run.sh --world-size 2 --stop-stage train --set data.source=waves_yesno 2>&1 \
| grep -E '^(stage . (data|train)|2 processes|later|rank|epoch)' | cut -c1-98"
        ;;
    mandarin)
        ln -s "${given[0]}" bundle
        cp "${given[1]}" first.wav
        cp "${given[2]}" second.wav
        block text 3 >names.txt
        draw --height 14 'python -m steps.recognise --bundle bundle first.wav second.wav' 'cat names.txt' \
            'python -m steps.recognise --bundle bundle --words names.txt second.wav'
        ;;
    *)
        echo "error: no picture of '$page'" >&2
        exit 2
        ;;
esac
