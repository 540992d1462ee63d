"""The library. Every entry point imports it before torch, because it sets what torch's libraries read from the environment.

Idle OpenMP threads sleep instead of spinning: on two busy cores, two spinning threads make training 10 times slower. MKL 2020.0,
which torch 1.13 brings, uses AVX2 on AMD processors only when told so; later versions ignore the setting.

Files are UTF-8 whatever the locale, those that libraries open too: where the locale has another encoding, a module started with
`python -m` starts again in Python's UTF-8 mode. The processes that it starts get the mode from the environment.
"""

import codecs
import io
import locale
import os
import sys

if sys.argv[:1] == ["-m"]:  # Python is still looking for the module to run: nothing has been read yet
    if codecs.lookup(locale.getpreferredencoding(False)).name != "utf-8" and hasattr(sys, "orig_argv"):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for _stream in (sys.stdout, sys.stderr):  # PYTHONIOENCODING may name another encoding
        if isinstance(_stream, io.TextIOWrapper):
            _stream.reconfigure(errors="backslashreplace")
    for _text in (*sys.argv[1:], *(os.environ.get(name, "") for name in ("NUPTSE_EXP", "NUPTSE_DOWNLOAD"))):
        if not _text.isascii() and _text != _text.encode("utf-8", "replace").decode():  # manifests could not name the file
            sys.stderr.write(f"error: {ascii(_text)} is not UTF-8; rename the files and folders that it names\n")
            sys.exit(2)
os.environ["PYTHONUTF8"] = "1"

# Packages of PYTHONPATH come after those of the environment: what is tested and recorded must be what runs.
_named = {os.path.realpath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
_named.discard(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_later = [path for path in sys.path if path and os.path.realpath(path) in _named]
sys.path[:] = [path for path in sys.path if path not in _later] + _later

_set = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
try:
    with open("/proc/cpuinfo", encoding="utf-8") as _cpus:
        if "AuthenticAMD" in _cpus.read(4096):
            _set["MKL_DEBUG_CPU_TYPE"] = "5"
except OSError:  # no Linux
    pass
for _name, _value in _set.items():
    os.environ.setdefault(_name, _value)
