"""Errors in S3's own words: a code, a status, and an XML document. Pure.

Every code is one that S3 has, since clients decide by it whether to try again. What a client
sent is shown back to it, escaped; nothing that it did not send, and no secret, is.
"""

from collections.abc import Mapping
from enum import Enum

from cache_protocol import errors
from cache_protocol.errors import CacheError
from cache_server.core.coming_back import wish_of


class Code(Enum):
    """S3's code and its status. Source: Amazon S3 API reference, "Error responses"."""

    ACCESS_DENIED = "AccessDenied", 403
    HEADER_MALFORMED = "AuthorizationHeaderMalformed", 400
    QUERY_MALFORMED = "AuthorizationQueryParametersError", 400
    INTERNAL_ERROR = "InternalError", 500
    INVALID_ACCESS_KEY = "InvalidAccessKeyId", 403
    INVALID_ARGUMENT = "InvalidArgument", 400
    INVALID_BUCKET_NAME = "InvalidBucketName", 400
    INVALID_OBJECT_STATE = "InvalidObjectState", 403
    INVALID_PART_NUMBER = "InvalidPartNumber", 416
    INVALID_RANGE = "InvalidRange", 416
    INVALID_REQUEST = "InvalidRequest", 400
    INVALID_TOKEN = "InvalidToken", 400
    INVALID_URI = "InvalidURI", 400
    KEY_TOO_LONG = "KeyTooLongError", 400
    METHOD_NOT_ALLOWED = "MethodNotAllowed", 405
    NO_SUCH_BUCKET = "NoSuchBucket", 404
    NO_SUCH_KEY = "NoSuchKey", 404
    NO_SUCH_VERSION = "NoSuchVersion", 404
    NOT_IMPLEMENTED = "NotImplemented", 501
    PRECONDITION_FAILED = "PreconditionFailed", 412
    HEADERS_TOO_LARGE = "RequestHeaderSectionTooLarge", 400
    SKEWED = "RequestTimeTooSkewed", 403
    SERVICE_UNAVAILABLE = "ServiceUnavailable", 503
    SIGNATURE = "SignatureDoesNotMatch", 403
    SLOW_DOWN = "SlowDown", 503
    CONTENT_MISMATCH = "XAmzContentSHA256Mismatch", 400

    @property
    def word(self) -> str:
        """The code as it stands in the document."""
        return self.value[0]

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.value[1]


class S3Error(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        details: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse with ``message``, which says what to do.

        Args:
            code: what clients go by.
            message: for people.
            details: further elements of the document.
            fields: further header fields of the answer.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}
        self.fields = fields or {}


RETRY_AFTER = 1  # seconds; S3's clients back off by themselves and most do not look
# What the origin says no to is no fault of the request, and no try again helps: clients give up on
# these codes at once. Whoever tries again is told SlowDown or ServiceUnavailable.
CODES: dict[type[CacheError], Code] = {
    errors.MalformedError: Code.INVALID_REQUEST,
    errors.UnknownPipelineError: Code.NO_SUCH_BUCKET,
    errors.UnauthorizedError: Code.ACCESS_DENIED,
    errors.ForbiddenError: Code.ACCESS_DENIED,
    errors.UnknownTokenError: Code.INVALID_ACCESS_KEY,
    errors.UnknownPlanError: Code.NO_SUCH_KEY,
    errors.PlanRefusedError: Code.INVALID_REQUEST,
    errors.TicketError: Code.ACCESS_DENIED,
    errors.GenerationGoneError: Code.SLOW_DOWN,
    errors.SlotInUseError: Code.SLOW_DOWN,
    errors.CapacityError: Code.SERVICE_UNAVAILABLE,
    errors.QuotaError: Code.SLOW_DOWN,
    errors.BusyError: Code.SLOW_DOWN,
    errors.DrainingError: Code.SERVICE_UNAVAILABLE,
    errors.DiskError: Code.SERVICE_UNAVAILABLE,
    errors.IntegrityError: Code.INVALID_OBJECT_STATE,
    errors.OriginNotFoundError: Code.NO_SUCH_BUCKET,
    errors.OriginDeniedError: Code.ACCESS_DENIED,
    errors.OriginChangedError: Code.SLOW_DOWN,
    errors.UnsafeContentError: Code.INVALID_OBJECT_STATE,
    errors.OriginUnavailableError: Code.SLOW_DOWN,
    errors.OriginError: Code.SERVICE_UNAVAILABLE,
    errors.ServerUnreachableError: Code.SERVICE_UNAVAILABLE,
    CacheError: Code.INTERNAL_ERROR,
}


def refusal_of(error: CacheError) -> S3Error:
    """Return ``error`` as a client of S3 understands it."""
    code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    if code.status != 503:
        return S3Error(code, str(error))
    return S3Error(code, str(error), fields={"Retry-After": str(wish_of(error) or RETRY_AFTER)})
