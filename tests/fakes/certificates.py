"""An authority for tests, and the certificates of nodes that it signs.

authority = Authority(directory)
cert, key = authority.issue("cache", "127.0.0.1")
"""

import ssl
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple

import trustme


class Pair(NamedTuple):
    cert: Path  # PEM
    key: Path


class Authority:
    """Signs what it is asked to; its own certificate is in the file ``ca``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._numbers = count(1)
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, *names: str, days: float = 30) -> Pair:
        """Return a certificate for ``names`` and its key; with negative days it has run out."""
        now = datetime.now(UTC)
        made = self._authority.issue_cert(
            *names, not_before=now - timedelta(days=400), not_after=now + timedelta(days=days)
        )
        stem = self._directory / f"node-{next(self._numbers)}"
        pair = Pair(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        self.put(made, pair)
        return pair

    def renew(self, pair: Pair, *names: str) -> None:
        """Write another certificate and key in the place of ``pair``."""
        self.put(self._authority.issue_cert(*names), pair)

    @staticmethod
    def put(made: trustme.LeafCert, pair: Pair) -> None:
        # By a rename each, as programs do that renew certificates: nobody reads half a file.
        for blob, path in ((made.cert_chain_pems[0], pair.cert), (made.private_key_pem, pair.key)):
            fresh = path.with_suffix(".new")
            blob.write_to_path(fresh)
            fresh.replace(path)

    def client(self) -> ssl.SSLContext:
        """Return a context that believes this authority alone."""
        return ssl.create_default_context(cafile=self.ca)
