"""The library. Importing it, which every way in does before torch, lets idle OpenMP threads sleep instead of spinning.

Two spinning threads on two cores that something else is using too make training 10 times slower.
"""
import os

for _name, _value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0"), ("KMP_BLOCKTIME", "0")):
    os.environ.setdefault(_name, _value)
