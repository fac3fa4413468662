"""The socket in the file system: made where nobody else's is, and removed at the end.

Below ROOT, which is the node's user's alone, only that user and root get to it. Wherever else an
operator puts it, the directory says who gets there, and the socket itself lets everybody: what
anybody is lent is decided by tickets, as on the data plane, which all users of the host reach too.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BACKLOG = 128
_LONGEST = 107  # bytes of a path in sockaddr_un. Source: unix(7)


def listen(path: Path, mode: int) -> socket.socket:
    """Return a socket that listens at ``path``, with the permissions ``mode``.

    Raises:
        OSError: somebody listens there, something else is there, or nothing can be made there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _address(path) as name:
            _make_way(path, name)
            listener.bind(name)
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _make_way(path: Path, name: str) -> None:
    """Remove a socket that a node before this one left."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "there is something that is no socket", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:  # a full backlog: somebody lives there
            pass
    raise OSError(errno.EADDRINUSE, "another node listens there", str(path))


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield a name of ``path`` that fits into a socket's address, however deep it lies."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
