"""`unimr serve`: one process, one event loop, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import uvicorn

from unimr.params import ServeParams
from unimr.service.app import create_app
from unimr.service.keys import check_address, read_keys
from unimr.service.service import Service

KEEP_ALIVE_SECONDS = 75
"""Longer than a proxy in front keeps an idle connection: else it would send a request into one that is closing."""


def serve(params: ServeParams, root: Path, say: Callable[[str], object]) -> None:
    """Serve the published index of `root` until the process is told to end; accepted requests are finished first.

    Raises:
        UnimrError: nothing is published, the keys cannot be read, or the address needs keys and there are none.
    """
    keys = read_keys(root / params.keys_file if params.keys_file else None, os.environ)
    check_address(params.host, keys)
    service = Service(params, root, keys)
    config = uvicorn.Config(
        create_app(service),
        host=params.host,
        port=params.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=params.drain_seconds,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when all is done: that is no failure
        signal.signal(number, lambda *_: None)
    say(f"http://{params.host}:{params.port} answers with index {service.engine.version}. Stop it with Ctrl-C.")
    uvicorn.Server(config).run()
