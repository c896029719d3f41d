"""What the service is asked and what it answers, as strict objects; the OpenAPI document is made from them."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from unimr.data.images import MAX_BYTES
from unimr.data.own_lines import TextLine
from unimr.data.text import MAX_QUERY_CHARACTERS
from unimr.index.schema import Filter
from unimr.search.filters import MAX_RESULTS

USUAL_RESULTS = 24
MAX_IMAGE_CHARACTERS = 4 * -(-MAX_BYTES // 3)
"""Length of a picture of `MAX_BYTES` in base64."""
MAX_VALUES = 20
"""Values of one filter at most."""

Slot = Literal["intent", "subject", "skin_tone", "gender", "style", "category", "time", "count"]
Word = Annotated[str, Field(min_length=1, max_length=100)]
Words = Word | Annotated[list[Word], Field(min_length=1, max_length=MAX_VALUES)]
Year = Annotated[int, Field(ge=0, le=9999)]
ImageId = Annotated[str, Field(min_length=1, max_length=512)]


def _is_small_enough(image: str) -> str:
    if len(image) > MAX_IMAGE_CHARACTERS:
        raise PydanticCustomError("too_large", "the picture has more than 10 MiB")
    return image


def _decoded(image: str) -> bytes:
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("image: this is not base64") from error


Encoded = Annotated[str, AfterValidator(_is_small_enough)]
"""A picture in base64."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Filters(_Strict):
    """What every result must satisfy; a list of values means: one of them."""

    style: Words | None = None
    category: Words | None = None
    subcategory: Words | None = None
    skin_tone: Words | None = None
    gender: Words | None = None
    lang: Words | None = None
    year: Year | None = None
    year_from: Year | None = None
    year_to: Year | None = None

    def typed(self) -> list[Filter]:
        """The filters of the index that these are."""
        found = []
        for name in ("style", "category", "subcategory", "skin_tone", "gender", "lang"):
            values = getattr(self, name) or []
            found += [Filter(name, "==", value) for value in ([values] if isinstance(values, str) else values)]
        for name, op in (("year", "=="), ("year_from", ">="), ("year_to", "<=")):
            if getattr(self, name) is not None:
                found.append(Filter("year", op, getattr(self, name)))
        return found


class SearchRequest(_Strict):
    """Words in any language, a picture, or a picture changed by words."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "gato feliz", "lang": "es", "k": 5},
                {"text": "面白い顔", "filters": {"style": "openmoji"}},
                {"image_id": "1f44b/google", "text": "dark skin tone"},
                {"text": "waving hand with dark skin tone", "ignore_slots": ["skin_tone"]},
            ]
        }
    )

    text: str | None = Field(default=None, max_length=MAX_QUERY_CHARACTERS, description="What is looked for.")
    image: Encoded | None = Field(default=None, description="A PNG, JPEG or WebP picture in base64, 10 MiB at most.")
    image_id: ImageId | None = Field(default=None, description="A picture of the catalogue: more like this one.")
    lang: Annotated[str, Field(max_length=40)] | None = Field(default=None, description="Where the guess is wrong.")
    k: int | None = Field(
        default=None, ge=1, le=MAX_RESULTS, description=f"Results; {USUAL_RESULTS}, or as many as the text asks for."
    )
    filters: Filters = Filters()
    ignore_slots: list[Slot] = Field(
        default=[], max_length=8, description="Slots that are not turned into filters; `intent`: just search."
    )

    def picture(self) -> bytes | None:
        """The bytes of the picture.

        Raises:
            ValueError: it is not base64.
        """
        return None if self.image is None else _decoded(self.image)


class UnderstandRequest(_Strict):
    """A query to be understood, not answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "zeig mir drei lachende Gesichter"}]})

    text: str = Field(min_length=1, max_length=MAX_QUERY_CHARACTERS)
    lang: Annotated[str, Field(max_length=40)] | None = None


class NewPicture(_Strict):
    """A picture of an item: PNG, JPEG or WebP in base64, and its style."""

    style: Annotated[str, Field(max_length=40)]
    image: Encoded

    def bytes(self) -> bytes:
        """The encoded picture.

        Raises:
            ValueError: it is not base64.
        """
        return _decoded(self.image)


class ItemChange(_Strict):
    """An item as it shall be, in the format of `unimr import`, with pictures in the place of their paths."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "attributes": {"category": "Objects", "year": "2024"},
                    "texts": [
                        {"lang": "en", "role": "name", "text": "red mug"},
                        {"lang": "de", "role": "name", "text": "rote Tasse"},
                        {"lang": "en", "role": "keyword", "text": "coffee"},
                    ],
                }
            ]
        }
    )

    base_id: str | None = None
    attributes: dict[str, str] = {}
    texts: Annotated[list[TextLine], Field(min_length=1, max_length=1000)]
    pictures: Annotated[list[NewPicture], Field(max_length=MAX_VALUES)] = []


class Changed(BaseModel):
    """A change that is on the disk and searchable."""

    item_id: str
    model: str
    index: str


class SlotFound(BaseModel):
    """A part of the query; `value` is what it was read as, null where it was not."""

    label: str
    text: str
    value: str | None


class Understood(BaseModel):
    """What the model took a query for."""

    query: str | None
    lang: str
    intent: str
    confidence: float
    slots: list[SlotFound]
    filters: list[str]
    notes: list[str]
    latency_ms: float
    model: str
    index: str


class HitFound(BaseModel):
    """A result; `score` compares within one answer only."""

    item_id: str
    score: float
    kind: Literal["image", "text"]
    title: str
    english: str
    text: str | None
    image_id: str | None
    style: str | None


class SearchResponse(Understood):
    """Results, and the versions of the model and the index that made them."""

    hits: list[HitFound]
    similarity: float | None
    margin: float | None
    model_version: str
    index_version: str
    milliseconds: float


class PictureFound(BaseModel):
    """A picture of an item; its bytes are at `url`."""

    image_id: str
    style: str
    url: str


class ItemFound(BaseModel):
    """An item: its texts by language, its pictures, its attributes."""

    item_id: str
    names: dict[str, str]
    descriptions: dict[str, str]
    attributes: dict[str, str | int]
    pictures: list[PictureFound]
    model: str
    index: str


class ExampleFound(BaseModel):
    """A query that has an answer."""

    lang: str
    text: str


class CatalogueFound(BaseModel):
    """What can be asked for."""

    languages: list[str]
    styles: list[str]
    categories: list[str]
    values: dict[str, list[str]]
    examples: list[ExampleFound]
    items: int
    model: str
    index: str


class Problem(BaseModel):
    """What went wrong."""

    code: str
    message: str


class ErrorResponse(BaseModel):
    """The body of every error."""

    error: Problem


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description}
    for status, description in {
        400: "The body is not valid JSON",
        401: "The API key is missing or unknown",
        404: "There is no such thing in the index",
        413: "The body or the picture is too large",
        415: "Not JSON, or a picture that is not PNG, JPEG or WebP",
        422: "A value does not fit",
        429: "Too many requests; see the header Retry-After",
        503: "The index does not answer now, or the service is ending",
    }.items()
}
