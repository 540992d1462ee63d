"""The library. Every entry point imports it before torch, because it sets what torch's libraries read from the environment.

Idle OpenMP threads sleep instead of spinning: on two busy cores, two spinning threads make training 10 times slower. MKL 2020.0,
which torch 1.13 brings, uses AVX2 on AMD processors only when told so; later versions ignore the setting.
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
