"""Runs a program as a container's seccomp profile would: io_uring_setup is not permitted.

Usage: without_io_uring.py PROGRAM [ARGUMENT ...]
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
IO_URING_SETUP = 425  # the same number on every architecture
EPERM = 1


def instruction(code, jump_true, jump_false, operand):
    return struct.pack("HBBI", code, jump_true, jump_false, operand)


program = b"".join(
    [
        instruction(0x20, 0, 0, 0),  # load the number of the system call
        instruction(0x15, 0, 1, IO_URING_SETUP),  # if it is another, skip one
        instruction(0x06, 0, 0, 0x00050000 | EPERM),  # refuse it with EPERM
        instruction(0x06, 0, 0, 0x7FFF0000),  # allow it
    ]
)
code = ctypes.create_string_buffer(program, len(program))
filter_program = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))

libc = ctypes.CDLL(None, use_errno=True)
unused = ctypes.c_ulong(0)
for option, first, second in [
    (PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), unused),
    (PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), filter_program),
]:
    if libc.prctl(option, first, second, unused, unused) != 0:
        sys.exit(f"prctl({option}): {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
