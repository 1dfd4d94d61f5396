"""Becomes another program that dies with its parent: `python launch.py PARENT_PID PROGRAM ARGUMENT...`.

`process` starts every component through this file, so that a test run killed with SIGKILL leaves nothing behind.
A program of its own instead of a `preexec_fn`, which may deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask the kernel for SIGKILL at the parent's end, then replace this process by the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before prctl
            sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
