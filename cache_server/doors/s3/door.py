"""One request, answered: the right to ask, bucket and key, and what is to be said of them."""

from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.reply import Reply
from cache_server.doors.s3.request import S3Request


class S3Door:
    """Answers requests of S3's clients. Safe for threads."""

    def answer(self, request: S3Request) -> Reply:
        """Return what is to be sent for ``request``; never raises.

        May wait for the origin of a cold pipeline, for ``stock.PATIENCE`` seconds at most.
        """
        return self.refuse(S3Error(Code.NOT_IMPLEMENTED, "not yet"), request)

    def refuse(self, error: S3Error, request: S3Request | None = None) -> Reply:
        """Return ``error`` as an answer, also to a request that could not even be read."""
        raise NotImplementedError(error, request)
