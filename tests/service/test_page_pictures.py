"""What the search page looks like with the trained model: with `--pictures FOLDER` they are kept (`make pictures`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unimr.service.service import Service

from ..index.small_index import PROJECT
from .conftest import serve_params
from .visitor import PHONE, Visitor, chromium, expect, needs_chromium, served

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def trained(request, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The address of the service over the trained index of this project, and the folder that pictures go to."""
    folder = request.config.getoption("--pictures")
    if folder is None:
        pytest.skip("no --pictures FOLDER to keep them in")
    if not (PROJECT / "published/current.json").exists():
        pytest.skip("there is no trained model: `make demo` makes one")
    Path(folder).mkdir(parents=True, exist_ok=True)
    with served(Service(serve_params(tmp_path_factory.mktemp("log")), PROJECT, {})) as url:
        yield url, Path(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


def search_for(text: str, intent: str = "Find pictures") -> Callable[[Visitor], None]:
    def search(visitor: Visitor) -> None:
        visitor.types(text)
        expect(visitor.chip("intent")).to_contain_text(intent)

    return search


def hover_over_a_result(visitor: Visitor) -> None:
    search_for("gato sonriendo")(visitor)
    visitor.page.locator(".tile").nth(1).hover()


def more_like_in_words(visitor: Visitor) -> None:
    search_for("waving hand")(visitor)
    visitor.page.locator(".tile .more").first.click()
    expect(visitor.chip("intent")).to_contain_text("Something similar")
    visitor.page.mouse.move(0, 0)
    visitor.types("dark skin tone")
    expect(visitor.chip("skin_tone")).to_be_visible()


def open_first(visitor: Visitor) -> None:
    search_for("rocket")(visitor)
    visitor.page.locator(".open").first.click()
    expect(visitor.page.locator("#item")).to_be_visible()


DARK = {"color_scheme": "dark"}
PICTURES = {
    "search-empty": (lambda visitor: None, {}),
    "search-light": (hover_over_a_result, {}),
    "search-dark": (search_for("mano saludando con piel oscura"), DARK),
    "search-arabic": (search_for("وجه ضاحك"), {}),
    "search-picture-and-words": (more_like_in_words, {}),
    "search-meaning": (search_for("ロケットってどういう意味？", "What it means"), {}),
    "search-item": (open_first, {}),
    "search-phone": (search_for("사과 이모지"), PHONE),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_page_looks_as_it_should(browser, trained, name):
    address, folder = trained
    does, context = PICTURES[name]
    visitor = Visitor(browser, address, **context)
    does(visitor)
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.wait_for_timeout(400)  # for what fades
    visitor.page.screenshot(path=folder / f"{name}.png")
    visitor.page.context.close()
    assert visitor.complaints == []
