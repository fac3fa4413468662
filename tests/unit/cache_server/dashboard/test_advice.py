from cache_protocol import errors
from cache_protocol.errors import Retry
from cache_server.dashboard.advice import ADVICE, BY_RETRY, advice
from cache_server.fill.fill import FillStoppedError
from cache_server.service.disk_watch import SickDiskError

# What can end a fill, as people see it: raised by origins, the disk, the room, or the node itself.
OF_FILLS = (
    errors.OriginNotFoundError,
    errors.OriginDeniedError,
    errors.OriginChangedError,
    errors.OriginUnavailableError,
    errors.UnsafeContentError,
    errors.IntegrityError,
    errors.CapacityError,
    errors.DiskError,
    errors.BusyError,
    errors.MalformedError,
    errors.ForbiddenError,
    FillStoppedError,
    SickDiskError,
    errors.CacheError,
)


def test_each_way_in_which_a_fill_ends_comes_with_what_to_do():
    assert {kind.code for kind in OF_FILLS} <= ADVICE.keys()


def test_a_code_of_a_later_version_is_judged_by_whether_a_retry_helps():
    assert {advice("new", retry) for retry in Retry} == set(BY_RETRY.values())
