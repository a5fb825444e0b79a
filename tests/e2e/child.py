"""What the servers and programs of a test are started with: a port that stays theirs, and an end that comes with ours. For
tests/bench, too."""
import ctypes
import signal
import socket

# Found here: between fork and exec nothing may wait for a lock that a thread of ours had, as the loader's.
_prctl = ctypes.CDLL(None).prctl


def die_with_parent():
    """Between fork and exec."""
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def free_port():
    """One that stays ours to the end, also while its server restarts: a socket that is bound to it and never listens, beside which
    a server that sets SO_REUSEADDR may."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.detach()  # is open until this process ends
    return port
