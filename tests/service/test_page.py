"""The search page in a real browser, against the real service over a small index."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from unimr.service.service import Service

from ..index.small_index import word_encoder
from .conftest import serve_params
from .visitor import HAND, PHONE, Visitor, chromium, expect, needs_chromium, served

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def address(small_root, tmp_path_factory) -> Iterator[str]:
    service = Service(serve_params(tmp_path_factory.mktemp("log")), small_root, {}, word_encoder)
    with served(service) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


@pytest.fixture
def visitor(browser, address) -> Iterator[Visitor]:
    made = Visitor(browser, address)
    yield made
    hosts = {urlsplit(asked.url).hostname for asked in made.asked if not asked.url.startswith("blob:")}
    made.page.context.close()
    assert hosts == {"127.0.0.1"}
    assert made.complaints == []


def test_the_empty_page_shows_examples_and_what_answers(visitor):
    expect(visitor.page.locator(".example .query").first).to_be_visible()
    assert visitor.page.locator(".example .language").all_inner_texts() == ["English", "日本語", "Deutsch"]
    assert re.search(r"14 items\s+model \w+ · index \w+", visitor.page.inner_text("footer"))
    visitor.page.locator(".example").first.click()
    expect(visitor.page.locator("#welcome")).to_be_hidden()
    assert visitor.parameters()["q"] == visitor.page.input_value("#text") != ""


def test_typing_searches_and_names_what_answered(visitor):
    visitor.page.locator("#text").press_sequentially("rocket", delay=20)
    visitor.sees("rocket")
    expect(visitor.page.locator("#status")).to_have_text(re.compile(r"^\d+ results in \d+ ms$"))
    assert len(visitor.searches()) < 4, "keys that follow each other are one search"
    assert visitor.parameters() == {"q": "rocket"} and visitor.page.title() == "rocket · unimr"
    image = visitor.page.locator(".tile img").first
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8


def test_titles_are_in_the_language_of_the_query_with_the_english_name(visitor):
    visitor.types("Rakete")
    visitor.sees("Rakete")
    expect(visitor.page.locator(".tile .english").first).to_have_text("rocket")
    expect(visitor.page.locator(".tile .title").first).to_have_attribute("lang", "de")
    expect(visitor.page.locator("#lang option").first).to_have_text("Deutsch (auto)")
    visitor.page.select_option("#lang", "ja")
    visitor.sees("火箭")
    assert visitor.parameters()["lang"] == "ja"


def test_a_late_answer_to_an_older_query_is_dropped(visitor):
    late = []

    def hold(route):
        asked = route.request.post_data_json["text"]
        late.append(route) if asked == "cat" else route.continue_()

    visitor.page.route("**/v1/search", hold)
    # Requests are not taken back here, so that the answer to the first does arrive.
    visitor.page.evaluate("AbortController.prototype.abort = () => {}")
    visitor.types("cat")
    visitor.page.wait_for_timeout(300)
    visitor.types("dog")
    visitor.sees("dog")
    with visitor.page.expect_response("**/v1/search"):
        late[0].continue_()
    visitor.page.wait_for_timeout(100)
    visitor.sees("dog")


def test_a_chip_can_be_taken_back_and_put_back(visitor):
    visitor.types("hand dark")
    visitor.sees("hand: dark skin tone")
    assert "skin tone dark ×" in visitor.chips()
    visitor.chip("skin_tone").click()
    expect(visitor.chip("skin_tone")).to_have_class(re.compile("gone"))
    expect(visitor.page.locator(".tile")).not_to_have_count(1)
    assert visitor.searches()[-1]["ignore_slots"] == ["skin_tone"] and visitor.parameters()["without"] == "skin_tone"
    visitor.has_focus(".chip[data-name=skin_tone]")
    visitor.chip("skin_tone").click()
    expect(visitor.page.locator(".tile")).to_have_count(1)
    assert "without" not in visitor.parameters()


def test_an_intent_can_be_taken_back(visitor):
    visitor.types("what does rocket mean")
    expect(visitor.page.locator("#results")).to_have_class(re.compile("texts"))
    visitor.chip("intent").click()
    expect(visitor.page.locator("#results")).not_to_have_class(re.compile("texts"))
    expect(visitor.chip("intent")).to_have_attribute("aria-label", "Put back intent: What it means")


def test_a_slot_that_is_typed_over_is_forgotten(visitor):
    visitor.types("hand dark")
    visitor.chip("skin_tone").click()
    expect(visitor.chip("skin_tone")).to_have_class(re.compile("gone"))
    visitor.types("rocket")
    visitor.sees("rocket")
    expect(visitor.chip("skin_tone")).to_have_count(0)
    assert visitor.parameters() == {"q": "rocket"}


def test_menus_narrow_and_back_and_a_shared_address_work(visitor):
    visitor.types("animals cat")
    visitor.sees("cat")
    visitor.page.select_option("#style", "openmoji")
    expect(visitor.page.locator(".tile:not([data-image$='/openmoji'])")).to_have_count(0)
    shared = visitor.page.url
    visitor.page.go_back()
    expect(visitor.page.locator("#style")).to_have_value("")
    expect(visitor.page.locator(".tile[data-image$='/google']").first).to_be_visible()
    visitor.page.go_back()
    expect(visitor.page.locator("#welcome")).to_be_visible()
    visitor.page.goto(shared)
    visitor.sees("cat")
    expect(visitor.page.locator("#style")).to_have_value("openmoji")
    assert visitor.page.input_value("#text") == "animals cat"


@pytest.mark.parametrize("how", ["drop", "paste", "choose"])
def test_a_picture_is_searched_with_and_changed_by_words(visitor, how):
    if how == "choose":
        visitor.page.set_input_files("#file", {"name": "hand.png", "mimeType": "image/png", "buffer": HAND})
    else:
        visitor.brings(how)
    visitor.sees("hand")
    expect(visitor.page.locator("#picture canvas")).to_be_visible()
    expect(visitor.page.locator("#drop")).to_be_hidden()
    visitor.types("dark")
    visitor.sees("hand: dark skin tone")
    assert visitor.searches()[-1]["image"] and visitor.searches()[-1]["text"] == "dark"
    visitor.page.reload()
    visitor.sees("hand: dark skin tone")
    visitor.page.click("#remove-picture")
    expect(visitor.page.locator("#picture")).to_be_hidden()
    assert visitor.parameters() == {"q": "dark"}


def test_a_large_picture_is_made_small_and_another_file_is_refused_with_a_word(visitor):
    noise = np.random.default_rng(0).integers(0, 255, (900, 1400, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, format="PNG")
    assert len(data.getvalue()) > 3_000_000
    with visitor.page.expect_response("**/v1/search") as some:
        visitor.types("cat")
    answer = some.value.json()  # the encoder of this index knows no noise
    visitor.page.route("**/v1/search", lambda route: route.fulfill(json=answer))
    with visitor.page.expect_response("**/v1/search"):
        visitor.brings("drop", data.getvalue())
    expect(visitor.page.locator("#picture canvas")).to_be_visible()
    sent = base64.b64decode(visitor.searches()[-1]["image"])
    assert len(sent) < 300_000 and max(Image.open(io.BytesIO(sent)).size) == 512
    visitor.brings("drop", b"not a picture")
    expect(visitor.page.locator("#message")).to_contain_text("cannot be read as a picture")


def test_more_like_this_leaves_the_item_itself_out(visitor):
    visitor.types("cat")
    visitor.sees("cat")
    visitor.page.locator(".tile").first.hover()
    visitor.page.locator(".tile .more").first.click()
    expect(visitor.page.locator(".tile[data-item=cat]")).to_have_count(0)
    expect(visitor.page.locator("#picture img")).to_be_visible()
    assert visitor.parameters()["like"].startswith("cat/") and visitor.page.input_value("#text") == ""
    visitor.has_focus("#text")


def test_more_results_are_shown_when_asked_for(visitor):
    def many(route):
        number = route.request.post_data_json.get("k", 24)
        answer = route.fetch().json()
        hits = [answer["hits"][0] | {"item_id": str(n), "image_id": None, "title": str(n)} for n in range(number)]
        route.fulfill(json=answer | {"hits": hits})

    visitor.page.route("**/v1/search", many)
    visitor.types("cat")
    for shown in (24, 48, 72, 96):
        expect(visitor.page.locator(".tile")).to_have_count(shown)
        if shown < 96:
            visitor.page.click("#further")
    expect(visitor.page.locator("#further")).to_be_hidden()
    assert visitor.page.locator(".tile .plate").first.is_hidden(), "an item without a picture is its words"


def test_an_item_is_shown_in_every_language(visitor):
    visitor.types("rocket")
    visitor.sees("rocket")
    visitor.page.locator(".open").first.click()
    expect(visitor.page.locator("#item h2")).to_have_text("rocket")
    assert " ".join(visitor.page.inner_text("#item .names").split()) == "Deutsch Rakete 日本語 火箭"
    visitor.page.click("#item [data-image='rocket/openmoji']")
    expect(visitor.page.locator("#item")).to_be_hidden()
    assert visitor.parameters() == {"like": "rocket/openmoji"}


def test_arabic_runs_from_right_to_left(visitor):
    def in_arabic(route):
        answer = route.fetch().json()
        answer["lang"] = "ar"
        for number, hit in enumerate(answer["hits"]):
            hit["title"] = f"قطة {number}"
        route.fulfill(json=answer)

    visitor.page.route("**/v1/search", in_arabic)
    visitor.types("قطة سعيدة")
    visitor.sees("قطة 0")
    direction = "element => getComputedStyle(element).direction"
    assert visitor.page.locator("#text").evaluate(direction) == "rtl"
    first, second = (visitor.page.locator(".tile").nth(number) for number in (0, 1))
    assert first.bounding_box()["x"] > second.bounding_box()["x"]
    assert first.locator(".title").evaluate(direction) == "rtl"
    visitor.page.keyboard.press("ArrowDown")
    visitor.page.keyboard.press("ArrowLeft")
    expect(second.locator(".open")).to_be_focused()


def test_everything_can_be_done_with_the_keyboard(visitor):
    press = visitor.page.keyboard.press
    press("/")
    visitor.has_focus("#text")
    visitor.page.keyboard.type("a/animals")
    visitor.types("animals")
    expect(visitor.page.locator(".tile").nth(3)).to_be_visible()
    press("ArrowDown")
    visitor.has_focus(".tile:nth-child(1) .open")
    assert visitor.page.locator(".tile .open").first.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    press("ArrowRight")
    visitor.has_focus(".tile:nth-child(2) .open")
    press("Tab")
    visitor.has_focus(".tile:nth-child(2) .more")
    press("Shift+Tab")
    press("Enter")
    expect(visitor.page.locator("#item")).to_be_visible()
    press("Escape")
    expect(visitor.page.locator("#item")).to_be_hidden()
    visitor.has_focus(".tile:nth-child(2) .open")
    press("m")
    expect(visitor.page.locator("#picture")).to_be_visible()
    assert visitor.page.input_value("#text") == ""
    press("Escape")
    expect(visitor.page.locator("#welcome")).to_be_visible()


def test_an_overloaded_service_is_asked_again_by_itself(visitor):
    refused = []

    def busy_once(route):
        if refused:
            route.continue_()
        else:
            refused.append(route)
            content = {"error": {"code": "too_many_requests", "message": "busy"}}
            route.fulfill(status=429, headers={"Retry-After": "1"}, json=content)

    visitor.page.route("**/v1/search", busy_once)
    visitor.types("cat")
    expect(visitor.page.locator("#message")).to_contain_text("Trying again in 1 s.")
    visitor.sees("cat")
    expect(visitor.page.locator("#message")).to_be_hidden()
    visitor.complaints.clear()  # the browser reports every 429


def test_no_answer_and_nothing_found_say_what_to_do(visitor):
    message = visitor.page.locator("#message")
    visitor.page.route("**/v1/search", lambda route: route.abort())
    visitor.types("cat")
    expect(message).to_contain_text("does not answer")
    visitor.page.unroute("**/v1/search")
    message.get_by_role("button", name="Try again").click()
    visitor.sees("cat")
    visitor.complaints.clear()  # the browser reports the lost connection
    visitor.open("/?q=cat&style=nosuch")
    expect(message).to_contain_text("style has no value 'nosuch'")
    visitor.complaints.clear()  # and the 422
    message.get_by_role("button", name="Take the menus back").click()
    visitor.sees("cat")

    def nothing(route):
        route.fulfill(json=route.fetch().json() | {"hits": []})

    visitor.page.route("**/v1/search", nothing)
    visitor.types("dog")
    expect(message).to_contain_text("Nothing was found.")


def test_a_service_with_keys_asks_for_one(visitor):
    def guarded(route):
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"code": "unauthorized", "message": "Send an API key."}})

    visitor.page.route("**/v1/**", guarded)
    visitor.types("cat")
    for key in ("wrong", "secret"):
        visitor.page.fill("#key input", key)
        visitor.page.keyboard.press("Enter")
        if key == "wrong":
            expect(visitor.page.locator("#key")).to_contain_text("not known here")
    visitor.sees("cat")
    expect(visitor.page.locator(".tile img").first).to_have_attribute("src", re.compile("^blob:"))
    visitor.complaints.clear()  # the browser reports the 401


def test_what_is_typed_or_answered_is_never_markup(visitor):
    attack = '<img src=x onerror="document.title=1"> cat'
    visitor.is_told_everywhere(attack)
    visitor.types(attack)
    visitor.sees(attack)
    assert f"about {attack} ×" in visitor.chips()
    assert visitor.page.locator("img[src=x]").count() == 0
    visitor.page.unroute("**/v1/search")
    visitor.open(f"/?q={attack}&lang=<b>&like=<i>")
    assert visitor.page.locator("main b, main i, img[src=x]").count() == 0
    visitor.complaints.clear()  # the 404 of that picture


def test_a_phone_never_scrolls_sideways(browser, address):
    visitor = Visitor(browser, address, **PHONE)
    width = partial(visitor.page.evaluate, "document.documentElement.scrollWidth")
    assert width() == 360
    for text in ("hand dark openmoji", "what does rocket mean"):
        visitor.types(text)
        expect(visitor.page.locator(".tile").first).to_be_visible()
        assert width() == 360
    visitor.page.locator(".open").first.tap()
    expect(visitor.page.locator("#item")).to_be_visible()
    assert width() == 360
    visitor.page.keyboard.press("Escape")
    long = "w" * 300
    visitor.is_told_everywhere(long)
    visitor.types(long)
    visitor.sees(long)
    assert width() == 360
    visitor.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(browser, address, scheme):
    visitor = Visitor(browser, address, color_scheme=scheme)
    colours = visitor.page.evaluate(
        """() => {
            const of = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
            return Object.fromEntries(["ground", "raised", "tint", "ink", "soft", "accent"].map((n) => [n, of(n)]));
        }"""
    )
    visitor.page.context.close()
    assert (luminance(colours["ground"]) < 0.1) == (scheme == "dark")
    for words in ("ink", "soft", "accent"):
        for ground in ("ground", "raised", "tint"):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
