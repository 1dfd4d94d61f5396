"""Takes from the parser process the system calls that no parser needs, so that broken native code cannot use them.

A filter in the kernel answers them with "not permitted"; it holds for libraries in C and Rust, which an audit hook of
Python never sees. On other processors than x86-64 and ARM64, and where the kernel allows no filter, nothing happens.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X86 = {"socket": 41, "socketpair": 53, "connect": 42, "bind": 49, "sendto": 44, "sendmsg": 46, "execve": 59}
_X86 |= {"execveat": 322, "fork": 57, "vfork": 58, "ptrace": 101, "creat": 85, "truncate": 76, "unlink": 87}
_X86 |= {"unlinkat": 263, "rename": 82, "renameat": 264, "renameat2": 316, "mkdir": 83, "mkdirat": 258, "rmdir": 84}
_X86 |= {"link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266, "mknod": 133, "mknodat": 259, "chmod": 90}
_X86 |= {"fchmodat": 268, "chown": 92, "fchownat": 260, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308}
_X86 |= {"bpf": 321, "io_uring_setup": 425, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434}
_X86 |= {"pidfd_send_signal": 424, "perf_event_open": 298, "userfaultfd": 323, "keyctl": 250, "add_key": 248}
_X86 |= {"request_key": 249, "init_module": 175, "finit_module": 313, "openat2": 437}
_ARM = {"socket": 198, "socketpair": 199, "connect": 203, "bind": 200, "sendto": 206, "sendmsg": 211, "execve": 221}
_ARM |= {
    "execveat": 281,
    "ptrace": 117,
    "truncate": 45,
    "unlinkat": 35,
    "renameat": 38,
    "renameat2": 276,
    "mkdirat": 34,
}
_ARM |= {"linkat": 37, "symlinkat": 36, "mknodat": 33, "fchmodat": 53, "fchownat": 54, "mount": 40, "umount2": 39}
_ARM |= {"unshare": 97, "setns": 268, "bpf": 280, "io_uring_setup": 425, "process_vm_readv": 270}
_ARM |= {"process_vm_writev": 271, "pidfd_open": 434, "pidfd_send_signal": 424, "perf_event_open": 241}
_ARM |= {"userfaultfd": 282, "keyctl": 219, "add_key": 217, "request_key": 218, "init_module": 105, "finit_module": 273}
_ARM |= {"openat2": 437}
_REFUSED: Mapping[str, Mapping[str, int]] = {"x86_64": _X86, "aarch64": _ARM}
_SIGNALS = {"x86_64": (62, 200, 234), "aarch64": (129, 130, 131)}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_OPENS = {"x86_64": ((2, 1), (257, 2)), "aarch64": ((56, 2),)}
"""Number of the call, and which of its arguments holds the flags."""

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_THREAD = 0x10000
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NO_NEW_PRIVILEGES, _SET_FILTER, _FILTER_MODE = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def refuse() -> bool:
    """Install the filter for this process, for ever; False where that is not possible."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    code = _filter(machine, os.getpid())
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_SET_FILTER, _FILTER_MODE, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: str, pid: int) -> bytes:
    """The filter as the kernel reads it: each check jumps over its answer when it does not apply."""
    code = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _instruction(_RETURN, _REFUSE),
        _instruction(_LOAD, _NUMBER_AT),
    ]
    for number in sorted(_REFUSED[machine].values()):
        code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _REFUSE)]
    # The C library falls back to `clone`, whose flags can be looked at.
    code += [_instruction(_EQUAL, _CLONE3, 0, 1), _instruction(_RETURN, _UNKNOWN)]
    code += _unless(_CLONE[machine], 0, _instruction(_ANY_BIT, _THREAD, 1, 0))
    for number in _SIGNALS[machine]:
        code += _unless(number, 0, _instruction(_EQUAL, pid, 1, 0))
    for number, place in _OPENS[machine]:
        code += [
            _instruction(_EQUAL, number, 0, 4),
            _instruction(_LOAD, _ARGUMENTS_AT + 8 * place),
            _instruction(_ANY_BIT, _WRITES, 0, 1),
            _instruction(_RETURN, _REFUSE),
            _instruction(_RETURN, _ALLOW),
        ]
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _unless(number: int, place: int, check: bytes) -> list[bytes]:
    """Refuse the call `number` unless `check` of its argument jumps over the refusal."""
    return [
        _instruction(_EQUAL, number, 0, 4),
        _instruction(_LOAD, _ARGUMENTS_AT + 8 * place),
        check,
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]


def _instruction(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, true, false, value & 0xFFFFFFFF)
