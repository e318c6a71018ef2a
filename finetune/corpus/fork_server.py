"""Imported only by the fork server of executors.py: it ends with the build, and its workers end with it.

Otherwise the workers of a killed build would go on, and then wait for tasks for ever.
"""

import os

from acepilot.processes import end_with_parent

_forking = 0


def _before_fork() -> None:
    global _forking
    _forking = os.getpid()


os.register_at_fork(before=_before_fork, after_in_child=lambda: end_with_parent(_forking))
end_with_parent(os.getppid())
