"""Dynamic batching: queries of many requests, answered together by one worker thread.

While the worker is busy queries wait; what waits when it is free becomes the next batch. The event loop is never
blocked, and more than the service can answer in time is refused at once instead of being answered late.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
DELIVERED_AT_ONCE = 4
SMOOTHING = 0.2
"""Weight of the newest batch in the mean time a query takes."""


class Overloaded(Exception):  # noqa: N818 (a state, not a fault)
    """More queries wait than may; `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many queries are waiting. Try again in a moment.")
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Fault:
    """What a job failed with."""

    error: Exception


class Batcher(Generic[Job, Result]):
    """Collects jobs into batches and has them answered in one thread, a batch at a time.

    Args:
        answer: answers a batch, one result a job, in the worker thread.
        max_batch: jobs in a batch.
        wait_seconds: how long a batch that is not full waits for more.
        max_waiting: jobs that may wait.
        max_delay_seconds: how long a new job may have to wait, as estimated from the last batches.
        observe: is told the size of every batch.
    """

    def __init__(
        self,
        answer: Callable[[list[Job]], Sequence[Result]],
        max_batch: int,
        wait_seconds: float,
        max_waiting: int,
        max_delay_seconds: float,
        observe: Callable[[int], object],
    ) -> None:
        self._answer, self._observe = answer, observe
        self._max_batch, self._wait = max_batch, wait_seconds
        self._max_waiting, self._max_delay = max_waiting, max_delay_seconds
        self._queue: asyncio.Queue[tuple[Job, asyncio.Future[Result]]] = asyncio.Queue()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._seconds_each = 0.0
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._deliveries: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return self._queue.qsize()

    def check(self) -> None:
        """Whether a new job would be taken.

        Raises:
            Overloaded: it would have to wait too long.
        """
        waiting, delay = self.waiting, self.waiting * self._seconds_each
        # What still goes into the next batch is taken, however long the last one took: that may have been a swap.
        if waiting >= self._max_waiting or (waiting >= self._max_batch and delay > self._max_delay):
            raise Overloaded(max(1, math.ceil(delay)))

    async def submit(self, job: Job) -> Result:
        """The result of a job.

        Raises:
            Overloaded: too many wait already.
        """
        self.check()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((job, future))
        return await future

    async def in_worker(self, call: Callable[[], None]) -> None:
        """Have something done in the worker thread, between two batches."""
        await asyncio.get_running_loop().run_in_executor(self._worker, call)

    def start(self) -> None:
        """Begin to answer; call it in the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer what waits, then end the worker."""
        while self._queue.qsize() or self._busy or self._deliveries:
            await asyncio.sleep(0.005)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._worker.shutdown)

    async def _run(self) -> None:
        while True:
            self._busy = False
            batch = [await self._queue.get()]
            self._busy = True
            if self._queue.qsize() + 1 < self._max_batch:
                await asyncio.sleep(self._wait)
            while len(batch) < self._max_batch and self._queue.qsize():
                batch.append(self._queue.get_nowait())
            wanted = [(job, future) for job, future in batch if not future.done()]  # the others' clients are gone
            if wanted:
                await self._settle(wanted)

    async def _settle(self, batch: list[tuple[Job, asyncio.Future[Result]]]) -> None:
        started, loop = time.perf_counter(), asyncio.get_running_loop()
        results = await loop.run_in_executor(self._worker, self._answer_all, [job for job, _ in batch])
        taken = (time.perf_counter() - started) / len(batch)
        self._seconds_each += SMOOTHING * (taken - self._seconds_each)
        self._observe(len(batch))
        delivery = asyncio.create_task(self._deliver(batch, results))  # beside the next batch
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, batch: list[tuple[Job, asyncio.Future[Result]]], results: list[Result | _Fault]) -> None:
        """Hand the results out, a few at a time: the event loop writes each answer, and hears others in between."""
        for number, ((_, future), result) in enumerate(zip(batch, results, strict=True)):
            if number and number % DELIVERED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if future.done():
                continue
            if isinstance(result, _Fault):
                future.set_exception(result.error)
            else:
                future.set_result(result)

    def _answer_all(self, jobs: list[Job]) -> list[Result | _Fault]:
        """The results of a batch; where it fails, of every job alone, so that a fault spoils no other job."""
        try:
            return list(self._answer(jobs))
        except Exception as error:
            if len(jobs) == 1:
                return [_Fault(error)]
            return [self._answer_all([job])[0] for job in jobs]
