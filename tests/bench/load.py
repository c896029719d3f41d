"""Load on a service: closed (clients that wait for their answer) and open (requests that come when they come).

Written on bare sockets: it shares the machine with the service it measures, so it must cost little itself.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

NO_ANSWER = 0


@dataclass(frozen=True)
class Sample:
    """One request: when it was due (seconds after the start), status (0: no answer), seconds to the answer's end."""

    due: float
    status: int
    seconds: float


@dataclass
class Load:
    """What a load did; `seconds` is how long it lasted."""

    seconds: float
    samples: list[Sample] = field(default_factory=list)

    def of(self, *statuses: int) -> list[Sample]:
        """The requests with one of these statuses."""
        return [sample for sample in self.samples if sample.status in statuses]

    def rate(self, *statuses: int) -> float:
        """Requests with one of these statuses a second."""
        return len(self.of(*statuses)) / self.seconds

    def milliseconds(self, share: float, *statuses: int) -> float:
        """A quantile of the time to the answer over the requests with one of these statuses."""
        times = sorted(sample.seconds for sample in self.of(*statuses))
        return round(1000 * times[min(len(times) - 1, int(share * len(times)))], 1) if times else float("nan")

    def statuses(self) -> dict[int, int]:
        """How many requests ended with each status."""
        found = sorted({sample.status for sample in self.samples})
        return {status: len(self.of(status)) for status in found}


class Connection:
    """A connection that is kept; one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of an answer of `/v1/search`; status 0 where the connection broke."""
        try:
            if self._streams is None or self._streams[0].at_eof():
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(
                b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
                + str(len(body)).encode() + b"\r\n\r\n" + body
            )  # fmt: skip
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            return int(head[9:12]), await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return NO_ANSWER, b""

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


Seen = Callable[[int, int, bytes], None]


async def closed_load(
    port: int, bodies: Sequence[bytes], clients: int, until: Callable[[float], bool], seen: Seen = lambda *_: None
) -> Load:
    """Clients that ask again as soon as they are answered, while `until(seconds so far)` is false.

    `seen` is told the number of the request, its status and the body of the answer.
    """
    loop = asyncio.get_running_loop()
    begun, load, numbers = loop.time(), Load(0.0), itertools.count()

    async def ask_on() -> None:
        connection = Connection(port)
        while not until(loop.time() - begun):
            number, sent = next(numbers) % len(bodies), loop.time()
            status, body = await connection.post(bodies[number])
            load.samples.append(Sample(sent - begun, status, loop.time() - sent))
            seen(number, status, body)
        connection.close()

    await asyncio.gather(*(ask_on() for _ in range(clients)))
    load.seconds = loop.time() - begun
    return load


async def open_load(port: int, bodies: Sequence[bytes], rate: float, seconds: float) -> Load:
    """`rate` requests a second, whatever becomes of those before; times count from when a request was due."""
    loop = asyncio.get_running_loop()
    begun, load, idle = loop.time(), Load(seconds), list[Connection]()

    async def ask(number: int, due: float) -> None:
        connection = idle.pop() if idle else Connection(port)
        status, _ = await connection.post(bodies[number % len(bodies)])
        load.samples.append(Sample(due, status, loop.time() - begun - due))
        idle.append(connection)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            due = number / rate
            if (early := due - (loop.time() - begun)) > 0:
                await asyncio.sleep(early)
            tasks.create_task(ask(number, due))
        sent = loop.time() - begun
    load.seconds = max(seconds, sent)
    for connection in idle:
        connection.close()
    return load


def hits_of(body: bytes) -> tuple[str, list[tuple[str, str | None]]]:
    """The index version an answer states, and its results in their order."""
    answer: dict[str, Any] = json.loads(body)
    return answer["index"], [(hit["item_id"], hit["image_id"]) for hit in answer["hits"]]


def median(values: Sequence[float]) -> float:
    """The median, to one digit."""
    return round(statistics.median(values), 1)
