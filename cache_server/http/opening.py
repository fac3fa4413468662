"""What a reader can read of a pipeline now: kept, being filled, or, with no room, passed through.

Two ways in, for an event loop and for a thread; what they decide is the same.
"""

import asyncio
import time
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress

from cache_protocol.errors import BusyError, CacheError, CapacityError, DiskError
from cache_protocol.names import shown
from cache_server.catalogue.registry import Key
from cache_server.service.library import Readable
from cache_server.service.room import TenantFullError
from cache_server.service.service import Service

NOT_KEPT = (CapacityError, TenantFullError, DiskError)  # why a pipeline is passed through


async def readable(service: Service, key: Key) -> Readable:
    """Return what is to be read of ``key``, as soon as its names and sizes are known.

    Raises:
        CacheError: nothing is: no such pipeline, or nobody knows what it consists of.
    """
    # A change of threads costs a turn for the interpreter's lock, among many that fill.
    if (warm := service.warm_now(key)) is not None:
        return warm
    try:
        opening = await asyncio.to_thread(service.ensure, key)
        # Shielded: a caller that leaves must not end the fill that others share.
        generation = await asyncio.shield(asyncio.wrap_future(opening))
    except NOT_KEPT as error:
        refused: CacheError = error
    except BusyError:
        service.check_admission()  # a fill that was stopped, because the node is: say that
        raise
    else:
        failure = generation.progress.failure  # of an attempt that hangs in a sick disk
        if not isinstance(failure, NOT_KEPT):
            return generation
        refused = failure
    # Not in a thread: a few origins that are silent would take them all, from warm pipelines too.
    if (asked := await asyncio.to_thread(service.contents.look_up, key)) is not None:
        with suppress(CacheError):  # then ``refused`` is what there is to say
            await asyncio.shield(asyncio.wrap_future(asked))
    return await asyncio.to_thread(service.pass_through, key, refused)


def wait_readable(service: Service, key: Key, patience: float) -> Readable:
    """Return what ``readable`` does, in a thread that may wait ``patience`` seconds.

    Raises:
        BusyError: it took longer; what runs goes on, and a later call finds it.
        CacheError: as ``readable``.
    """
    if (warm := service.warm_now(key)) is not None:
        return warm
    until = time.monotonic() + patience
    try:
        generation = service.ensure(key).result(patience)
    except LateError as error:
        raise late(key, patience) from error
    except NOT_KEPT as error:
        refused: CacheError = error
    except BusyError:
        service.check_admission()
        raise
    else:
        failure = generation.progress.failure
        if not isinstance(failure, NOT_KEPT):
            return generation
        refused = failure
    if (asked := service.contents.look_up(key)) is not None:
        try:
            asked.result(max(0.0, until - time.monotonic()))
        except LateError as error:
            raise late(key, patience) from error
        except CacheError:
            pass  # then ``refused`` is what there is to say
    return service.pass_through(key, refused)


def late(key: Key, patience: float) -> BusyError:
    """Return what is said when the origin of ``key`` took longer than ``patience`` seconds."""
    return BusyError(
        f"the origin of {shown(key.id)} has not said within {patience:.0f} s what it holds; it is "
        "still being asked: come back"
    )
