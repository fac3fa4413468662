"""Who asks: the token that an access key was made of, borne out by a signature.

Keys are made of replicas' tokens: the access key is a token's id, and its secret is derived from
the node's own key. So they end with their token, at once, and have its tenant and its pipelines.
The node's own admin token is not among them: nobody was ever told a secret of it.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from cache_server.core.access import ROOT, Identity, Right
from cache_server.core.attempts import FailedAttempts
from cache_server.core.led import led_by_a_site
from cache_server.core.loopback import names_loopback
from cache_server.doors.s3.claims import no_session, read_claim
from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.request import S3Request
from cache_server.doors.s3.signing import check_headers, check_time, is_signed


class Keys(Protocol):
    """Who has which access key; ``service.identities`` is one. Safe for threads."""

    def by_id(self, name: str) -> Identity | None:
        """Return who has the token of id ``name``, as long as it is valid."""
        ...

    def s3_secret(self, name: str) -> str:
        """Return the secret access key of the access key ``name``."""
        ...


class Credentials:
    """Tells who asks. Safe for threads."""

    def __init__(self, keys: Keys | None, attempts: FailedAttempts) -> None:
        """Ask ``keys``; None: auth is off, and who asks on this machine may do everything.

        Wrong signatures count in ``attempts``, per address; several threads count at once.
        """
        self._keys = keys
        self._attempts = attempts

    def of(self, request: S3Request, parameters: Mapping[str, str], now: datetime) -> Identity:
        """Return who sent ``request``.

        Raises:
            S3Error: nobody who may read; or too many wrong signatures came from that address.
        """
        if self._keys is None:
            return _anybody(request)
        identity = self._signer(request, parameters, now, self._keys)
        if not identity.may(Right.READ):
            raise S3Error(
                Code.ACCESS_DENIED,
                f"a key of role {identity.role} reads no weights; ask an admin for one of role "
                "replica",
            )
        return identity

    def _signer(
        self, request: S3Request, parameters: Mapping[str, str], now: datetime, keys: Keys
    ) -> Identity:
        claim = read_claim(request, parameters)
        if claim is None:
            raise S3Error(
                Code.ACCESS_DENIED,
                "Access Denied: the request is not signed; 'cache-server tokens create --role "
                "replica --s3' shows the keys to sign with",
            )
        if "x-amz-security-token" in request.fields:
            raise no_session()
        check_time(claim, now)
        check_headers(claim, request)
        identity = None if claim.key == ROOT.id else keys.by_id(claim.key)
        if identity is None:
            self._count(request.peer)
            raise S3Error(
                Code.INVALID_ACCESS_KEY,
                "The AWS Access Key Id you provided does not exist in our records: it was "
                "revoked, has run out, or is of another node",
                details={"AWSAccessKeyId": claim.key},
            )
        if not is_signed(claim, request, keys.s3_secret(claim.key)):
            self._count(request.peer)
            raise _wrong_signature(request, claim.key)
        return identity

    def _count(self, peer: str) -> None:
        wait = self._attempts.note(peer, time.monotonic())
        if wait:
            raise S3Error(
                Code.SLOW_DOWN,
                f"too many wrong signatures came from {peer}; the next one is judged in "
                f"{wait:.0f} s, a valid one at any time",
                fields={"Retry-After": str(max(1, round(wait)))},
            )


def _wrong_signature(request: S3Request, key: str) -> S3Error:
    return S3Error(
        Code.SIGNATURE,
        "The request signature we calculated does not match the signature you provided. Check "
        "your key and signing method. Method, Host and path below are those that came here: what "
        "stands in between must leave them as they are.",
        details={
            "AWSAccessKeyId": key,
            "Method": request.method[:32],
            "Host": request.fields.get("host", "")[:200],
            "Path": request.path[:1000],
        },
    )


def _anybody(request: S3Request) -> Identity:
    """Let programs on this machine in, and no browser that somebody else's page leads here."""
    host = request.fields.get("host", "")
    if not names_loopback(host):
        raise S3Error(
            Code.ACCESS_DENIED,
            "with auth off this node answers to 'localhost' and loopback addresses alone",
            details={"Host": host[:200]},
        )
    if led_by_a_site(request.fields):
        raise S3Error(
            Code.ACCESS_DENIED,
            "a site had your browser ask this; with auth off it is answered to programs alone",
        )
    return ROOT
