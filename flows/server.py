"""Prefect's server, kept from calling anybody: `make ui` starts `python -m flows.server`.

Everything else is as `prefect server start` does it. Two pages (the catalogues of blocks and of work pools) would make
the server ask a repository of Prefect's for their content, and the browser a host of pictures; the server takes the
copy that comes with Prefect, and a Content-Security-Policy holds the browser to this server.
"""

from __future__ import annotations

import uvicorn
from prefect.server.api import collections
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOWHERE = "about:blank"
"""No address: asking it fails at once, and the copy is taken."""


def main() -> None:
    """Serve until SIGTERM."""
    settings = get_current_settings().server
    for view in collections.KNOWN_VIEWS:
        collections.KNOWN_VIEWS[view] = NOWHERE
    uvicorn.run(
        restricted(create_app(final=True), settings.api.port),
        host=settings.api.host,
        port=settings.api.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        log_level=settings.logging_level.lower(),
    )


def restricted(app: ASGIApp, port: int) -> ASGIApp:
    """The application, whose pages may load from, and talk to, this server alone."""
    here = " ".join(f"{scheme}://{host}:{port}" for scheme in ("http", "ws") for host in ("127.0.0.1", "localhost"))
    policy = f"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob: {here}".encode()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(event: Message) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event.get("headers", ()), (b"content-security-policy", policy)]
            await send(event)

        await app(scope, receive, send_with_policy)

    return answer


if __name__ == "__main__":
    main()
