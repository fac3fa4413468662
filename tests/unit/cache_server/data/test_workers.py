import threading

from cache_server.data import workers
from cache_server.data.workers import Workers


def test_threads_are_started_on_demand_up_to_the_limit():
    pool, gate, running = Workers(2, name="t"), threading.Event(), threading.Semaphore(0)

    def job() -> None:
        running.release()
        gate.wait()

    assert [pool.give(job) for _ in range(3)] == [True, True, False]
    assert running.acquire(timeout=5)
    assert running.acquire(timeout=5)
    assert pool.busy == 2
    gate.set()
    assert pool.close(5)


def test_a_thread_serves_one_job_after_another():
    pool, seen, done = Workers(1, name="t"), [], threading.Event()
    for _ in range(3):
        done.clear()
        while not pool.give(lambda: (seen.append(threading.current_thread()), done.set())):
            pass
        assert done.wait(5)
    assert len(set(seen)) == 1
    assert pool.close(5)


def test_a_job_that_fails_does_not_cost_its_thread(caplog):
    pool, done = Workers(1, name="t"), threading.Event()
    pool.give(lambda: 1 // 0)
    while not pool.give(done.set):
        pass
    assert done.wait(5)
    assert pool.close(5)
    assert "ZeroDivisionError" in caplog.text


def test_a_thread_without_work_ends(monkeypatch):
    monkeypatch.setattr(workers, "IDLE_TIME", 0.001)
    pool, threads = Workers(1, name="t"), []
    pool.give(lambda: threads.append(threading.current_thread()))
    while not threads:
        pass
    threads[0].join(5)
    assert not threads[0].is_alive()
    assert pool.close(5)
