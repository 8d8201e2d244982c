"""Freed memory that stays with the process."""

import platform
import subprocess
import sys

import pytest

# Allocates and frees 64 blocks of 4 MB, again and again; prints how many pages the last rounds had to be given.
PROGRAM = """
import ctypes, resource, sys
from slimline.training.host_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes, libc.memset.argtypes = (
    ctypes.c_void_p, [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t])
def round():
    blocks = [libc.malloc(ctypes.c_size_t(4 << 20)) for _ in range(64)]
    for block in blocks:
        libc.memset(block, 1, 4 << 20)
    for block in blocks:
        libc.free(block)
round(), round()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
round(), round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
def test_pages_are_not_asked_for_again():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ("keep", "as it is")
    }
    assert faults["as it is"] > 10_000
    assert faults["keep"] < faults["as it is"] / 10
