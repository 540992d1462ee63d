#!/usr/bin/env bash
# Part of utils/setup.sh, which sources it: which stack fits this machine, and which Python makes it.
# Needs ROOT, LISTS, VENV, STAMP, MODE, say and fail; sets the columns of stacks.txt (STACK, PYTHONS ...), PYTHON, VERSION and WHY.
# shellcheck disable=SC2034,SC2153 # these names are used there

UV="uv==0.13.9"
TOOLS="$ROOT/.tools" # our own uv, and the Python that it fetched

# Choose a stack by what is here: Python 3.10, or k2's wheels for another Python, or a Python 3.10 that uv can fetch.
choose_stack() {
    local trouble="" ours="" lacking=""
    [[ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]] || ours=yes # the only system for which k2 1.23.4 has wheels
    read_stack tested
    if [[ -n "$ours" ]] && find_python; then
        WHY="Python 3.10 is here"
        return
    fi
    lacking="$LACKING"
    read_stack "$(modern_stack)"
    if find_python; then
        if find_k2; then
            WHY="no Python 3.10 is here, and k2 has a wheel for Python $VERSION"
            return
        fi
        trouble="no Python 3.10 is here, and $TROUBLE"
    else
        lacking="${lacking:-$LACKING}"
        trouble="no working Python 3.10 to 3.13 was found"
    fi
    if [[ -n "${NUPTSE_PYTHON:-}" ]]; then
        [[ -n "$VERSION" ]] || refuse_named_python
        fail "for NUPTSE_PYTHON=$NUPTSE_PYTHON, a Python $VERSION, k2 is missing: $trouble." \
            "Name a Python 3.10, or take NUPTSE_STACK=no-k2, which trains without k2"
    fi
    if [[ -z "$ours" ]]; then
        fail "$trouble. Other systems than Linux on x86-64 need k2's own wheels; NUPTSE_STACK=no-k2 trains without k2"
    fi
    read_stack tested
    fetch_python "$trouble" "$lacking"
    WHY="$trouble; uv fetched Python 3.10"
}

modern_stack() { if has_gpu; then echo modern-cu128; else echo modern-cpu; fi; }
has_gpu() { nvidia-smi -L >/dev/null 2>&1; }

# Set PYTHON and VERSION to a Python of a version in PYTHONS that works and can make environments; LACKING names one that can't.
find_python() {
    local version candidate
    PYTHON="" VERSION="" LACKING=""
    if [[ -f "$STAMP" && "$(<"$STAMP")" == "$STACK "* ]] && check_python "$VENV/bin/python"; then return; fi
    for version in ${PYTHONS//,/ }; do
        while IFS= read -r candidate; do
            if [[ -n "$candidate" ]] && check_python "$candidate" "$version"; then return; fi
        done < <(candidates "$version")
    done
    return 1
}

# check_python PYTHON [VERSION]: set PYTHON and VERSION if it answers, is of that version, and has what environments need.
check_python() {
    local answer
    answer="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || return
    [[ "$answer" == "${2:-$answer}" ]] || return
    if ! "$1" -c 'import ctypes, ensurepip, ssl, venv' 2>/dev/null; then
        LACKING="$1, a Python $answer, cannot make environments; $(venv_remedy "$answer")"
        return 1
    fi
    PYTHON="$1" VERSION="$answer"
}

venv_remedy() {
    if command -v apt-get >/dev/null; then
        echo "run: apt-get install python$1-venv"
    else
        echo "it lacks ensurepip, venv, ssl or ctypes (on Debian and Ubuntu: apt-get install python$1-venv)"
    fi
}

# Where a Python of this version may be, one path per line. A shim of pyenv on the PATH may refuse to run, so pyenv is asked too.
candidates() {
    if [[ -n "${NUPTSE_PYTHON:-}" ]]; then
        echo "$NUPTSE_PYTHON"
        return
    fi
    command -v "python$1" || true
    command -v python3 || true
    local root="${PYENV_ROOT:-}"
    [[ -n "$root" ]] || root="$(pyenv root 2>/dev/null || true)"
    [[ -z "$root" ]] || ls -d "$root/versions/$1".*/bin/python 2>/dev/null || true
    ls -d "$TOOLS/python/cpython-$1".*/bin/"python$1" 2>/dev/null || true
    (cd / && uv python find "$1" 2>/dev/null) || true
}

refuse_named_python() {
    fail "NUPTSE_PYTHON=$NUPTSE_PYTHON is not a working Python ${PYTHONS//,/ or } with venv and ssl;" \
        "name another one, or unset it to search"
}

# Find the Python of a stack that was named, or fail. Only the tested stack may fetch one: any other also takes newer Pythons.
need_python() {
    find_python && return
    [[ -z "${NUPTSE_PYTHON:-}" ]] || refuse_named_python
    [[ "$STACK" != tested ]] || { fetch_python "no working Python 3.10 was found" "$LACKING" && return; }
    [[ -z "$LACKING" ]] || fail "$LACKING"
    fail "no Python ${PYTHONS//,/ or } was found: install one, or name one in NUPTSE_PYTHON"
}

# Look on k2's page for the wheel to install, and set K2, TORCH and TORCHAUDIO to it; on failure TROUBLE says why.
find_k2() {
    local status=0 found
    [[ "$PAGE" != - ]] || return 0
    found="$("$PYTHON" "$LISTS/wheels.py" k2 "$PAGE" "$K2" 2>&1)" || status=$?
    if ((status)); then
        TROUBLE="$found"
        ((status < 128)) || TROUBLE="$PAGE does not answer" # ended by its alarm
        return 1
    fi
    K2="$found"
    [[ "${K2##*torch}" == "$TORCH" ]] || TORCH="${K2##*torch}" TORCHAUDIO="${K2##*torch}"
}

# fetch_python TROUBLE LACKING: let uv bring a Python 3.10 into .tools, or fail with what was tried and the remedies.
fetch_python() {
    local uv log="$TOOLS/log.txt" reason
    if [[ "$MODE" == plan ]]; then
        PYTHON="a Python 3.10 that uv fetches" VERSION=3.10
        return
    fi
    mkdir -p "$TOOLS"
    : >"$log"
    say "$1: fetching Python 3.10 into .tools with uv"
    if uv="$(find_uv "$log")"; then
        if UV_PYTHON_INSTALL_DIR="$TOOLS/python" UV_CACHE_DIR="$TOOLS/cache" UV_PYTHON_INSTALL_BIN=0 \
            "$uv" --no-config python install 3.10 >>"$log" 2>&1 && find_python; then
            rm -rf "$TOOLS/cache"
            return
        fi
        reason="uv could not fetch Python 3.10 ($(last_cause "$log"))"
    else
        reason="uv, which could fetch one, is not here and could not be installed by pip ($(last_cause "$log"))"
    fi
    fail "${2:+$2, then run again. Also, }$1, and $reason." \
        "Remedies: $(python_remedy), or name a Python 3.10 in NUPTSE_PYTHON; NUPTSE_STACK=no-k2 trains without k2. The log is $log"
}

# Print where uv is; install it into .tools from the package index if there is none.
find_uv() {
    local candidate new="$TOOLS/uv.new"
    command -v uv && return
    if [[ ! -x "$TOOLS/uv/bin/uv" ]]; then
        say "fetching uv itself from the package index"
        for candidate in python3 python3.{13,12,11,10,9,8} python; do
            command -v "$candidate" >/dev/null || continue
            rm -rf "$new"
            { "$candidate" -m pip install --target "$new" "$UV" || { rm -rf "$new" && "$candidate" -m venv "$new" &&
                "$new/bin/python" -m pip install "$UV"; }; } >>"$1" 2>&1 </dev/null && break
        done
        [[ -x "$new/bin/uv" ]] || return 1
        rm -rf "$TOOLS/uv"
        mv "$new" "$TOOLS/uv"
    fi
    echo "$TOOLS/uv/bin/uv"
}

# The most telling line of a log: the last one that names an error or its cause.
last_cause() {
    local line
    line="$(grep -iE 'cause:|error|no module' "$1" | tail -n 1 | sed -E 's/^ *(cause|error|ERROR): *//' | cut -c 1-160)"
    [[ -s "$1" ]] || line="no Python answers"
    echo "${line:-see the log}"
}

# How to get Python 3.10 on this system.
python_remedy() {
    if command -v pyenv >/dev/null; then
        echo "'pyenv install 3.10'"
    elif command -v dnf >/dev/null; then
        echo "'dnf install python3.10'"
    elif command -v apt-get >/dev/null && apt-cache show python3.10-venv >/dev/null 2>&1; then
        echo "'apt-get install python3.10-venv'"
    else
        echo "install Python 3.10 with pyenv"
    fi
}
