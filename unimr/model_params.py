"""The section `model` of `params.yaml`: what every training stage builds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from unimr.section import PositiveInt, Section


class LoraParams(Section):
    """Low-rank adapters (Hu et al. 2022, "LoRA", section 4) of every linear map in the encoder's layers."""

    rank: PositiveInt
    alpha: PositiveInt


class PhotographViews(Section):
    """The views of which a finished photograph is embedded as the mean, each by how large it shows the photograph.

    `whole` are views of its middle, every other one mirrored; for each of `corners` there are four, two of them
    mirrored. Those of the default lie near the crops a tower is trained on: one and a half points recall@10 over a
    drawing's. More find more (docs/datasets.md), at as many times the cost.
    """

    whole: list[Annotated[float, Field(ge=0.5, le=4)]] = Field(default=[0.9, 1.1, 1.4], min_length=1, max_length=16)
    corners: list[Annotated[float, Field(gt=1, le=4)]] = Field(default=[], max_length=4)


class PretrainedParams(Section):
    """A Hugging Face encoder: `name` is a hub name or a folder; or `config` describes one to begin from scratch.

    `train` says what of it is trained: all of it, nothing, its `last_layers`, or adapters (`lora`). Its learning rates
    are the stage's times `rate_multiplier`, and times `layer_decay` once for every layer below the last.
    """

    kind: Literal["hf"]
    name: str = ""
    config: dict[str, Any] | None = None
    train: Literal["full", "frozen", "last_layers", "lora"] = "full"
    last_layers: PositiveInt | None = None
    lora: LoraParams | None = None
    rate_multiplier: Annotated[float, Field(gt=0, le=1)] = 0.1
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _says_what_and_how(self) -> Self:
        if bool(self.name) == (self.config is not None):
            raise ValueError("give either `name`, a hub name or a folder, or `config`, to begin from scratch")
        for key in ("last_layers", "lora"):
            if (self.train == key) != (getattr(self, key) is not None):
                raise ValueError(f"`train: {key}` and the key `{key}` go together")
        return self


class HfTextParams(PretrainedParams):
    """A Hugging Face text encoder; `docs/encoders.md` describes the keys.

    `prefix` stands before every text, as some checkpoints were trained ("query: "). With `config`, `tokenizer` is the
    folder of its tokenizer.
    """

    tokenizer: str = ""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 64
    pooling: Literal["mean", "cls"] = "mean"
    prefix: str = ""

    @model_validator(mode="after")
    def _has_a_tokenizer(self) -> Self:
        if (self.config is not None) != bool(self.tokenizer):
            raise ValueError("`config` needs `tokenizer`, its folder; a `name` brings its own")
        return self

    @property
    def max_words(self) -> int:
        """No text of so many tokens has more words."""
        return self.max_tokens


class HfImageParams(PretrainedParams):
    """A Hugging Face vision tower.

    `image_size` is the side that pictures are decoded and kept at; the tower enlarges them to its own.
    """

    image_size: Annotated[int, Field(ge=16, le=512)]
    photograph_views: PhotographViews = PhotographViews()


class TextEncoderParams(Section):
    """The text encoder: hashed character n-grams a word, transformer layers over the words."""

    kind: Literal["ngram"]
    buckets: PositiveInt
    ngram_max: Annotated[int, Field(ge=1, le=6)]
    layers: Annotated[int, Field(ge=0, le=12)]
    heads: PositiveInt
    max_words: PositiveInt


class NluParams(Section):
    """The NLU module; `fusion` mixes its features into the text embedding."""

    layers: Annotated[int, Field(ge=0, le=12)]
    heads: PositiveInt
    fusion: bool


class ImageEncoderParams(Section):
    """The image encoder: a small residual convolutional network."""

    kind: Literal["convnet"]
    channels: list[PositiveInt] = Field(min_length=2)
    image_size: Annotated[int, Field(ge=16, le=512)]
    photograph_views: PhotographViews = PhotographViews()


class ModelParams(Section):
    """The unified model. `matryoshka_dims` are the leading dimensions that work on their own."""

    dim: PositiveInt
    matryoshka_dims: list[PositiveInt] = Field(min_length=1)
    text: Annotated[TextEncoderParams | HfTextParams, Field(discriminator="kind")]
    nlu: NluParams
    image: Annotated[ImageEncoderParams | HfImageParams, Field(discriminator="kind")]
