"""Certificates for tests, made by the openssl command: an authority, and nodes that it signed.

authority = Authority(directory)
cert, key = authority.issue("localhost", "127.0.0.1")
"""

import subprocess
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    cert: Path  # PEM
    key: Path


class Authority:
    """Signs what it is asked to; its own certificate is ``ca``."""

    def __init__(self, directory: Path, name: str = "Warmline tests") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._numbers = count(1)
        self.ca, self._key = directory / "ca.pem", directory / "ca.key"
        _openssl(
            "req", "-x509", *_KEY, "-keyout", self._key, "-out", self.ca, "-subj", f"/CN={name}",
            "-days", "30", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue(self, *names: str, days: int = 30) -> Pair:
        """Return a certificate for ``names`` and its key; run out already with negative days."""
        stem = self._directory / f"node-{next(self._numbers)}"
        pair = Pair(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        request = stem.with_suffix(".csr")
        _openssl("req", "-new", *_KEY, "-keyout", pair.key, "-out", request, "-subj", "/CN=node")
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={','.join(map(_alternative, names))}\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key,
            "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", pair.cert,
        )  # fmt: skip
        return pair


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _alternative(name: str) -> str:
    try:
        return f"IP:{ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _openssl(*words: object) -> None:
    command = ["openssl", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
