"""What a child process does so that it does not outlive the process that started it."""

import os
import signal
import sys
from ctypes import CDLL

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends, whatever this process computes.

    `parent` is the id of the process to which that thread belongs: if it has ended already, exit at once.
    Only Linux has this; elsewhere the function does nothing.
    """
    if sys.platform != "linux":
        return
    CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
