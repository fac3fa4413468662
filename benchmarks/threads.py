"""Run one loop in several threads at once and let the first failure be everybody's."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def together(work: Callable[[], None], threads: int) -> None:
    """Run ``work`` in ``threads`` threads and return when all have ended; raise what one raised."""
    with ThreadPoolExecutor(threads) as pool:
        for running in [pool.submit(work) for _ in range(threads)]:
            running.result()
