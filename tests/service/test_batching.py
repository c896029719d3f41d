from __future__ import annotations

import asyncio
import threading
import time

import pytest

from unimr.service.batching import Batcher, Overloaded


class Worker:
    """Doubles numbers; remembers the batches and the threads; can be held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.free = threading.Event()
        self.free.set()

    def __call__(self, jobs: list[int]) -> list[int]:
        self.threads.add(threading.get_ident())
        self.batches.append(jobs)
        self.free.wait(10)
        if 13 in jobs:
            raise ValueError("thirteen")
        return [2 * job for job in jobs]


def run(steps, **changes):
    """Run `steps(batcher, worker)` in an event loop."""
    worker = Worker()
    given = {"max_batch": 4, "wait_seconds": 0.01, "max_waiting": 8, "max_delay_seconds": 10.0, **changes}

    async def body():
        batcher = Batcher(worker, observe=lambda size: None, **given)
        batcher.start()
        try:
            return await steps(batcher, worker)
        finally:
            worker.free.set()
            await batcher.stop()

    return asyncio.run(body()), worker


def test_jobs_that_come_together_are_answered_together_each_with_its_own():
    async def steps(batcher, worker):
        return await asyncio.gather(*(batcher.submit(number) for number in range(8)))

    results, worker = run(steps)
    assert results == [0, 2, 4, 6, 8, 10, 12, 14]
    assert [len(batch) for batch in worker.batches] == [4, 4]
    assert len(worker.threads) == 1 and threading.get_ident() not in worker.threads


def test_the_event_loop_goes_on_while_the_worker_works():
    async def steps(batcher, worker):
        worker.free.clear()
        task = asyncio.create_task(batcher.submit(1))
        started = time.perf_counter()
        for _ in range(20):
            await asyncio.sleep(0.001)
        taken = time.perf_counter() - started
        worker.free.set()
        return taken, await task

    (taken, result), _ = run(steps)
    assert taken < 1 and result == 2


def test_more_than_may_wait_is_refused_at_once():
    async def steps(batcher, worker):
        worker.free.clear()
        tasks = [asyncio.create_task(batcher.submit(0))]
        await asyncio.sleep(0.1)  # it is being answered
        tasks += [asyncio.create_task(batcher.submit(number)) for number in range(1, 9)]
        await asyncio.sleep(0.01)
        started = time.perf_counter()
        with pytest.raises(Overloaded) as refusal:
            await batcher.submit(99)
        taken = time.perf_counter() - started
        worker.free.set()
        return taken, refusal.value.retry_after, await asyncio.gather(*tasks)

    (taken, retry_after, results), _ = run(steps)
    assert taken < 0.05 and retry_after >= 1 and results == [2 * number for number in range(9)]


def test_what_would_wait_too_long_is_refused_before_the_queue_is_full():
    async def steps(batcher, worker):
        worker.free.clear()
        first = asyncio.create_task(batcher.submit(0))
        await asyncio.sleep(0.5)
        worker.free.set()
        await first  # half a second a query, as far as is known: a tenth of one after smoothing
        worker.free.clear()
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(1, 8)]
        await asyncio.sleep(0.05)
        worker.free.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results, _ = run(steps, max_delay_seconds=0.2, max_waiting=1000)
    assert results[:2] == [2, 4] and isinstance(results[-1], Overloaded)


def test_a_fault_spoils_no_other_job_of_its_batch():
    async def steps(batcher, worker):
        bad = await asyncio.gather(batcher.submit(13), batcher.submit(1), return_exceptions=True)
        return bad, await batcher.submit(2)

    (bad, after), _ = run(steps)
    assert isinstance(bad[0], ValueError) and (bad[1], after) == (2, 4)


def test_a_client_that_is_gone_is_not_answered():
    async def steps(batcher, worker):
        worker.free.clear()
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.1)
        gone = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        worker.free.set()
        return await first

    result, worker = run(steps)
    assert result == 2 and worker.batches == [[1]]


def test_stopping_answers_what_waits():
    async def body():
        batcher = Batcher(Worker(), 2, 0.0, 100, 10.0, lambda size: None)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(9)]
        await asyncio.sleep(0)
        await batcher.stop()
        return await asyncio.gather(*tasks)

    assert asyncio.run(body()) == [2 * number for number in range(9)]
