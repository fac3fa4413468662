"""The door as the data plane speaks it: see ``data.dialect``."""

from datetime import UTC, datetime

from cache_server.core.attempts import FailedAttempts
from cache_server.data.request import RefusedError, Request
from cache_server.doors.s3.credentials import Credentials
from cache_server.doors.s3.door import S3Door
from cache_server.doors.s3.operations import READ_ONLY
from cache_server.doors.s3.refusals import Code, S3Error, refusal_of
from cache_server.doors.s3.reply import Reply
from cache_server.doors.s3.request import PREFIX, S3Request
from cache_server.doors.s3.stock import NodeStock
from cache_server.doors.shelf import Shelf
from cache_server.service.identities import Identities

# Of what the plane refuses before anybody has looked at its meaning, the status says more.
_BY_STATUS = {
    405: Code.METHOD_NOT_ALLOWED,
    414: Code.INVALID_URI,
    431: Code.HEADERS_TOO_LARGE,
    501: Code.NOT_IMPLEMENTED,
}


class S3Dialect:
    """S3's words for the data plane. Safe for threads."""

    prefix = PREFIX

    def __init__(self, door: S3Door) -> None:
        self._door = door

    def answer(self, request: Request, peer: str) -> Reply:
        """Return what to say to ``request``; never raises."""
        method, path, query = request.method, request.path, request.query
        return self._door.answer(S3Request(method, path, query, request.fields, peer))

    def refuse(self, refused: RefusedError) -> Reply:
        """Return ``refused`` in S3's words, with a body even if it was a HEAD."""
        error, code = refusal_of(refused.error), _BY_STATUS.get(refused.status)
        message = READ_ONLY if refused.status == 405 else error.message
        fields = {**error.fields, **refused.fields}
        return self._door.refuse(S3Error(code or error.code, message, fields=fields))


def s3_dialect(shelf: Shelf, identities: Identities | None, attempts: FailedAttempts) -> S3Dialect:
    """Return the door to what is on ``shelf`` for holders of tokens; None: auth is off.

    ``attempts`` counts wrong signatures, from several threads at once.
    """
    credentials = Credentials(identities, attempts)
    return S3Dialect(S3Door(NodeStock(shelf), credentials, lambda: datetime.now(UTC)))
