"""The library. Importing it, which every way in does before torch, sets what torch's libraries read from the environment.

Idle OpenMP threads sleep instead of spinning: two spinning threads on two cores that something else is using too make training 10
times slower. On AMD's processors MKL 2020.0, which torch 1.13 has, uses AVX2 as on Intel's: it would else take a slower way; later
versions don't read this.
"""

import os

_set = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
try:
    with open("/proc/cpuinfo") as _stream:
        if "AuthenticAMD" in _stream.read(4096):
            _set["MKL_DEBUG_CPU_TYPE"] = "5"
except OSError:  # no Linux
    pass
for _name, _value in _set.items():
    os.environ.setdefault(_name, _value)
