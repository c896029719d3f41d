"""A person at the search page: a real browser, and the real service in a thread of this process."""

from __future__ import annotations

import base64
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn

from unimr.service.app import create_app
from unimr.service.service import Service

from ..index.small_index import NAMES, picture

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")
DESKTOP = {"width": 1200, "height": 800}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
HAND = picture(list(NAMES).index("hand"), "google")


@contextmanager
def served(service: Service) -> Iterator[str]:
    """The service on a free port of this machine, and its address."""
    server = uvicorn.Server(uvicorn.Config(create_app(service), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium() -> Iterator:
    with playwright.sync_playwright() as driver:
        # Nothing but this machine has a name here: what the page asks elsewhere is noted, and cannot be answered.
        rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=[rules])
        yield opened
        opened.close()


class Visitor:
    """A person at the page; `asked` are the requests it made, `complaints` what the browser had to complain of."""

    def __init__(self, browser, address: str, **context) -> None:
        self.address = address
        self.page = browser.new_context(**{"viewport": DESKTOP, **context}).new_page()
        self.page.set_default_timeout(10_000)
        self.asked: list = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.open("/")

    def open(self, path: str) -> None:
        self.page.goto(self.address + path, wait_until="networkidle")

    def types(self, text: str) -> None:
        self.page.fill("#text", text)

    def sees(self, *titles: str) -> None:
        """The first results have these titles."""
        for number, title in enumerate(titles):
            expect(self.page.locator(".tile .title").nth(number)).to_have_text(title)

    def chip(self, name: str):
        return self.page.locator(f".chip[data-name={name}]")

    def chips(self) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(".chip").all_inner_texts()]

    def searches(self) -> list[dict]:
        return [asked.post_data_json for asked in self.asked if asked.url.endswith("/v1/search")]

    def parameters(self) -> dict[str, str]:
        """What the address of the page says."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.page.url).query).items()}

    def brings(self, how: str, data: bytes = HAND, kind: str = "image/png") -> None:
        """Drop or paste a picture."""
        self.page.evaluate(
            """([how, encoded, type]) => {
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                const dataTransfer = new DataTransfer();
                dataTransfer.items.add(new File([bytes], "picture", { type }));
                const common = { bubbles: true, cancelable: true };
                if (how === "paste") {
                    document.dispatchEvent(new ClipboardEvent("paste", { ...common, clipboardData: dataTransfer }));
                } else for (const name of ["dragover", "drop"]) {
                    document.body.dispatchEvent(new DragEvent(name, { ...common, dataTransfer }));
                }
            }""",
            [how, base64.b64encode(data).decode(), kind],
        )

    def has_focus(self, selector: str) -> None:
        expect(self.page.locator(selector).first).to_be_focused()

    def is_told_everywhere(self, text: str) -> None:
        """From now on every word of an answer is this text."""

        def say(route):
            answer = route.fetch().json()
            answer["slots"] = [{"label": label, "text": text, "value": text} for label in ("subject", "style")]
            hits = [hit | {"title": text, "english": text[:-1], "text": text} for hit in answer["hits"]]
            route.fulfill(json=answer | {"notes": [text], "hits": hits})

        self.page.route("**/v1/search", say)
