"""Whose ROOT is, and who may look into it: the user that the node runs as, and root.

Whoever else could write there could have the node serve bytes that nobody checked again, and
whoever could read the keys could sign URLs and name himself an admin.
"""

import logging
import os
import stat
from pathlib import Path

from cache_protocol.errors import DiskError

log = logging.getLogger(__name__)


def check_root(root: Path) -> None:
    """Refuse a directory that somebody else owns or can write to.

    Raises:
        DiskError: says who, and what to do.
    """
    found = root.stat()
    if found.st_uid not in (os.geteuid(), 0):  # root can do everything anyway
        raise DiskError(
            f"{root} belongs to user {found.st_uid}, and this node runs as {os.geteuid()}: chown "
            "it, or name a directory below it that the node can make"
        )
    if found.st_mode & stat.S_IWOTH:
        raise DiskError(
            f"{root} is writable by everybody; chmod o-w it, or name a directory below it"
        )
    if found.st_mode & stat.S_IWGRP:
        log.warning(
            "%s is writable by its group %d, whose members can change what is served; chmod g-w it",
            *(root, found.st_gid),
        )
    for above in sorted({*root.absolute().parents, *root.resolve().parents}):
        _warn_of_open(above)


def _warn_of_open(above: Path) -> None:
    """Warn of a directory in which anybody can put another ROOT in the place of ours.

    Not refused: a volume's own mount point is often open to all, where nobody else is.
    """
    mode = above.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        log.warning(
            "%s, above this node's ROOT, is writable by everybody: another directory could be put "
            "in the place of ROOT; chmod +t or o-w it",
            above,
        )


def close_to_others(path: Path) -> None:
    """Take from ``path`` what rights others have, if it is there and ours.

    They get there behind our back: with a copy, a restored backup, or a volume that is mounted
    with rights for a group.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        path.chmod(found.st_mode & 0o700)
        log.warning(
            "%s was open to others (mode %03o) and is closed now; if somebody may have read a "
            "token or key in it, replace that",
            *(path, stat.S_IMODE(found.st_mode)),
        )
