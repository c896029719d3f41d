"""The encoder and the tokenizer that the parameters ask for."""

from __future__ import annotations

from pathlib import Path

from unimr.model.hf_image import HfImageEncoder
from unimr.model.hf_text import HfTextEncoder
from unimr.model.image_encoder import ConvNet
from unimr.model.subwords import SubwordTokenizer, read_tokenizer
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import NgramTokenizer, Tokenizer
from unimr.model_params import HfImageParams, HfTextParams, ImageEncoderParams, TextEncoderParams

TextEncoder = NgramTextEncoder | HfTextEncoder
ImageEncoder = ConvNet | HfImageEncoder

TEXT_ENCODER, IMAGE_ENCODER = "text_encoder", "image_encoder"
"""Names of the encoders in a model, and of the folders with the files of a pretrained one beside its weights."""


def make_tokenizer(params: TextEncoderParams | HfTextParams, saved: Path | None = None) -> Tokenizer:
    """The tokenizer of a text encoder; `saved` as in `make_text_encoder`."""
    if isinstance(params, TextEncoderParams):
        return NgramTokenizer(params.buckets, params.ngram_max, params.max_words)
    return read_tokenizer(params, saved / TEXT_ENCODER if saved else None)


def make_text_encoder(
    params: TextEncoderParams | HfTextParams, dim: int, tokenizer: Tokenizer, saved: Path | None = None
) -> TextEncoder:
    """A text encoder.

    Args:
        params: which one.
        dim: width of its states.
        tokenizer: the one that makes its batches.
        saved: the folder of a model or stage whose weights will be loaded; None to begin with those that `params` name.

    Raises:
        UnimrError: the checkpoint cannot be had or does not fit.
    """
    if isinstance(params, TextEncoderParams):
        return NgramTextEncoder(params, dim)
    if not isinstance(tokenizer, SubwordTokenizer):
        raise TypeError(f"a pretrained encoder needs its own tokenizer, not {type(tokenizer).__name__}")
    return HfTextEncoder(params, dim, tokenizer, saved / TEXT_ENCODER if saved else None)


def make_image_encoder(params: ImageEncoderParams | HfImageParams, dim: int, saved: Path | None = None) -> ImageEncoder:
    """An image encoder for training; arguments and errors as those of `make_text_encoder`."""
    if isinstance(params, HfImageParams):
        return HfImageEncoder(params, dim, saved / IMAGE_ENCODER if saved else None)
    return ConvNet(params, dim)
