"""The parts of a running service, put together: the live engine, the batcher, the query log, keys, metrics."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from unimr.data.images import MAX_BYTES, open_picture
from unimr.data.live import LiveChange
from unimr.errors import UnimrError
from unimr.index.encoder import Encoder
from unimr.index.store import StoreUnavailableError
from unimr.params import ServeParams
from unimr.search.answer import SearchAnswer
from unimr.search.engine import SearchEngine, load_retriever
from unimr.search.query import Query, check_query
from unimr.service.batching import Batcher, Overloaded
from unimr.service.engines import LiveEngine
from unimr.service.errors import ApiError
from unimr.service.keys import RateLimiter
from unimr.service.metrics import Metrics
from unimr.service.querylog import QueryLog
from unimr.service.schemas import USUAL_RESULTS

log = logging.getLogger(__name__)

LARGE_SIDE, REDUCED_SIDE = 1024, 512
"""A picture with a longer side than the first is reduced to the second before the model sees it: the model looks at
far fewer pixels, and decoding a large picture must not delay the other queries of its batch."""
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


class Service:
    """Everything behind the routes. `start` and `stop` belong to the event loop.

    Raises:
        UnimrError: nothing is published under `root`, or it is damaged.
    """

    def __init__(
        self,
        params: ServeParams,
        root: Path,
        keys: Mapping[str, str],
        load: Callable[[Path], Encoder] = load_retriever,
    ) -> None:
        self.params, self.keys = params, keys
        self.metrics = Metrics()
        self.limiter = RateLimiter(params.requests_per_minute)
        self.picture_limiter = RateLimiter(params.requests_per_minute * USUAL_RESULTS)  # what the results may show
        self.log = QueryLog(params.query_log, root, self.metrics.log_written.inc, self.metrics.log_dropped.inc)
        self.live = LiveEngine(root, load)
        self.draining = False
        self._batcher: Batcher[Query, SearchAnswer | UnimrError] = Batcher(
            self.live.answer,
            params.max_batch,
            params.max_wait_ms / 1000,
            params.max_waiting,
            params.max_delay_ms / 1000,
            self.metrics.batch.observe,
        )
        self._pictures = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._decoding = 0
        self._watch: asyncio.Task[None] | None = None
        self.metrics.waiting.set_function(lambda: self._batcher.waiting)
        self._show_versions()

    @property
    def engine(self) -> SearchEngine:
        """The engine of the live version."""
        return self.live.current

    def start(self) -> None:
        """Begin to answer and to look for new versions."""
        self._batcher.start()
        self._watch = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Answer what was accepted, and close everything."""
        self.draining = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._batcher.stop()
        self._pictures.shutdown()
        await asyncio.to_thread(self.log.close)
        await asyncio.to_thread(self.live.close)

    def check_load(self) -> None:
        """Whether one more query would be answered in time.

        Raises:
            Overloaded: it would not.
        """
        self._batcher.check()
        if self._decoding >= self.params.max_batch:
            raise Overloaded(1)

    async def ask(self, query: Query) -> SearchAnswer:
        """Answer a query, in a batch with others.

        Raises:
            ApiError: the index cannot answer it, or too many wait.
        """
        try:
            check_query(query)
            if query.image is not None:
                query = await self._with_checked_picture(query)
            answer = await self._batcher.submit(query)
        except Overloaded as error:
            self.metrics.refuse("overload")
            raise ApiError(429, str(error), {"Retry-After": str(error.retry_after)}) from error
        except UnimrError as error:
            raise ApiError(422, str(error)) from error
        if isinstance(answer, StoreUnavailableError):
            raise ApiError(503, "The index does not answer now. Try again in a moment.", {"Retry-After": "1"})
        if isinstance(answer, UnimrError):
            raise ApiError(422, str(answer))
        return answer

    async def change(self, change: LiveChange) -> None:
        """Add, change or remove an item; it is durable and searchable when this returns.

        Raises:
            ApiError: the change does not fit to the other items, or cannot be written.
        """
        await self._batcher.in_worker(partial(self.live.change, change))
        self.metrics.changes.labels("remove" if change.line is None else "put").inc()

    async def _with_checked_picture(self, query: Query) -> Query:
        data = query.image or b""
        if len(data) > MAX_BYTES:
            raise ApiError(413, f"The picture has more than {MAX_BYTES:,} bytes.")
        if not data.startswith(SIGNATURES):
            raise ApiError(415, "This is not a picture: only PNG, JPEG and WebP are read.")
        self._decoding += 1
        try:
            checked = await asyncio.get_running_loop().run_in_executor(self._pictures, checked_picture, data)
        finally:
            self._decoding -= 1
        return replace(query, image=checked)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self.params.poll_seconds)
            try:
                await self._look_for_another()
            except Exception:  # a version that is half there must not end the looking
                log.exception("The published version could not be followed; the next look is in a moment")

    async def _look_for_another(self) -> None:
        fresh = await asyncio.to_thread(self.live.opened)
        if fresh is not None:
            await self._batcher.in_worker(partial(self.live.exchange, fresh))
            self.metrics.swaps.inc()
            self._show_versions()

    def _show_versions(self) -> None:
        self.metrics.show_versions(self.engine.model_version, self.engine.version)


def checked_picture(data: bytes) -> bytes:
    """A picture that can be decoded, reduced if it is large.

    Raises:
        UnimrError: too many pixels, not a PNG, JPEG or WebP picture, or damaged.
    """
    picture = open_picture(data)
    if max(picture.size) <= LARGE_SIDE:
        return data
    reduced = picture.convert("RGBA")
    reduced.thumbnail((REDUCED_SIDE, REDUCED_SIDE), Image.Resampling.BOX)
    encoded = io.BytesIO()
    reduced.save(encoded, format="PNG", compress_level=1)
    return encoded.getvalue()
