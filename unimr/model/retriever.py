"""The unified model: one space for queries, short texts, long texts and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors.torch import load_file, save
from torch import nn

from unimr.data.mixture import LABELS
from unimr.data.text import segment
from unimr.errors import UnimrError
from unimr.files import atomic_folder, read_json, write_json
from unimr.model.encoders import (
    IMAGE_ENCODER,
    TEXT_ENCODER,
    make_image_encoder,
    make_text_encoder,
    make_tokenizer,
)
from unimr.model.hf import hf_encoders
from unimr.model.image_encoder import (
    DRAWING_VIEWS,
    are_photographs,
    as_seen,
    decode_rgba,
    to_pixels,
    views_of_photographs,
)
from unimr.model.manifest import WEIGHTS, verify_manifest, write_manifest
from unimr.model.names import KNOWN_NAMES, KnownNames
from unimr.model.nlu import CATALOGUE_LABELS, FusionGate, Labels, NluModule, NluOutput, Understanding, decode_slots
from unimr.model.text_encoder import TextStates
from unimr.model.tokenizer import WordBatch, uniform_batches
from unimr.model.unfilled import unfilled
from unimr.model_params import ModelParams

TEXTS_AT_A_TIME = 512
PICTURES_AT_A_TIME = 256
REMEMBERED_WORDS = 200_000
"""Words the tokenizer may remember before it starts anew: bounds the memory of a long-lived service."""


class TextModel(nn.Module):
    """The text half of the model: text encoder, NLU module, fusion gate, and the projection into the shared space.

    Embeddings have unit length. Their leading `matryoshka_dims` work on their own after normalising again
    (Kusupati et al. 2022, "Matryoshka Representation Learning").

    Args:
        params: what the model is made of.
        labels: the intents and slots it tells apart.
        saved: the folder of a model or stage whose weights will be loaded, with the files of a pretrained encoder;
            None to begin with the weights that `params` name.
    """

    def __init__(self, params: ModelParams, labels: Labels = CATALOGUE_LABELS, saved: Path | None = None) -> None:
        super().__init__()
        self.params = params
        self.dim = params.dim
        self.tokenizer = make_tokenizer(params.text, saved)
        self.text_encoder = make_text_encoder(params.text, params.dim, self.tokenizer, saved)
        self.nlu = NluModule(params.nlu, params.dim, labels)
        self.fusion = FusionGate(params.dim)
        self.text_projection = nn.Linear(params.dim, params.dim)
        if params.text.kind == "hf" and saved is None and not self.text_projection.weight.is_meta:
            # What the checkpoint knows of which texts are alike is where training begins, not a random map of it.
            nn.init.eye_(self.text_projection.weight)
            nn.init.zeros_(self.text_projection.bias)
        self.known_names = KnownNames()

    @property
    def device(self) -> torch.device:
        """Where the text encoder lives; inputs go there."""
        return next(self.text_encoder.parameters()).device

    # -- forward passes, on tensors ------------------------------------------------------------------------------

    def embed_words(self, batch: WordBatch, learn_nlu: bool = True) -> tuple[torch.Tensor, NluOutput]:
        """Embeddings of texts `[batch, dim]` of unit length, and what the NLU module says of them."""
        text: TextStates = self.text_encoder(batch)
        nlu: NluOutput = self.nlu(text, learn_nlu)
        pooled = self.fusion(text.pooled, nlu.features) if self.params.nlu.fusion else text.pooled
        return self.project(pooled), nlu

    def embed_words_alone(self, batch: WordBatch) -> torch.Tensor:
        """Embeddings of texts without the NLU module: stage 1, and models without fusion."""
        return self.project(self.text_encoder(batch).pooled)

    def embed(self, batch: WordBatch, learn_nlu: bool = True) -> torch.Tensor:
        """Embeddings of texts `[batch, dim]` of unit length; the NLU module is asked only where it is fused."""
        if self.params.nlu.fusion:
            return self.embed_words(batch, learn_nlu)[0]
        return self.embed_words_alone(batch)

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled texts into the shared space `[batch, dim]` → `[batch, dim]`, unit length."""
        return F.normalize(self.text_projection(pooled).float(), dim=-1)

    # -- for people: strings and bytes in, arrays out ----------------------------------------------------------------

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts → `[texts, dim]` float32, unit length."""
        return self.embed_texts(texts).cpu().numpy()

    @torch.inference_mode()
    def encode_texts_alike(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts → `[texts, dim]`, as `encode_texts`, but each to the same bytes whatever stands beside it."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        words = [self.tokenizer.words(text) for text in texts]
        for places, batch in uniform_batches(self.tokenizer, words):
            vectors[places] = self.embed(batch.to(self.device))[: len(places)].cpu().numpy()
        return vectors

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings of texts `[texts, dim]`, unit length, where the model is."""
        none = torch.zeros(0, self.dim, device=self.device)
        return torch.cat([none, *(self.embed(batch) for batch in self._text_batches(texts))])

    @torch.inference_mode()
    def understand(self, texts: Sequence[str]) -> list[Understanding]:
        """Intent and slots of texts."""
        found: list[Understanding] = []
        for batch in self._text_batches(texts):
            of_batch = texts[len(found) : len(found) + TEXTS_AT_A_TIME]
            found += self.understandings(of_batch, self.nlu(self.text_encoder(batch)))
        return found

    def understandings(self, texts: Sequence[str], nlu: NluOutput) -> list[Understanding]:
        """What the NLU module's output for a batch says of its texts."""
        labels, found = self.nlu.labels, []
        intents, tags = nlu.intent_logits.float().softmax(-1).cpu(), nlu.tag_logits.float().softmax(-1).cpu()
        for text, intent, tag in zip(texts, intents, tags, strict=True):
            words = segment(text)[: self.params.text.max_words]
            slots = decode_slots(text, words, tag, labels)
            slots = self.known_names.complete(text, words, slots, tag[:, labels.content_tags].sum(-1).tolist())
            found.append(Understanding(labels.intents[int(intent.argmax())], float(intent.max()), slots))
        return found

    def _text_batches(self, texts: Sequence[str]) -> Iterator[WordBatch]:
        if self.tokenizer.size > REMEMBERED_WORDS:
            self.tokenizer.forget()
        for start in range(0, len(texts), TEXTS_AT_A_TIME):
            words = [self.tokenizer.words(text) for text in texts[start : start + TEXTS_AT_A_TIME]]
            yield self.tokenizer.batch(words).to(self.device)

    # -- folders --------------------------------------------------------------------------------------------------

    def save(self, folder: Path, notes: dict[str, Any], metrics: dict[str, float] | None = None) -> None:
        """Save as a folder: `config.json`, `model.safetensors`, `metrics.json`, `manifest.json`; atomically.

        A model with other labels than those of the default catalogue has them in `labels.json`, and one that knows
        names has them in `names.txt`. One with pretrained encoders has their configurations and tokenizer in
        `text_encoder/` and `image_encoder/`, so that it loads where the checkpoints they came from are not.
        """
        with atomic_folder(folder) as temporary:
            write_json(temporary / "config.json", self.params.model_dump())
            if self.nlu.labels != CATALOGUE_LABELS:
                write_json(temporary / LABELS, {"intents": self.nlu.labels.intents, "slots": self.nlu.labels.slots})
            if self.known_names.forms:
                self.known_names.write(temporary / KNOWN_NAMES)
            for part in hf_encoders(self):
                part.save_files(temporary / (TEXT_ENCODER if part is self.text_encoder else IMAGE_ENCODER))
            weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
            (temporary / WEIGHTS).write_bytes(save(weights))  # save_file would hide that the disk is full
            write_json(temporary / "metrics.json", metrics or {})
            write_manifest(temporary, notes)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a saved model after checking every file of it; of a whole model, `TextModel` loads its half.

        Raises:
            UnimrError: something is missing or damaged, or the weights do not fit the configuration.
        """
        verify_manifest(folder)
        try:
            params = ModelParams.model_validate(read_json(folder / "config.json"))
        except ValidationError as error:
            raise UnimrError(
                f"{folder / 'config.json'} is of another version of the model: {error.error_count()} keys do not fit. "
                "Run `dvc repro` to train it anew."
            ) from error
        with unfilled():
            model = cls(params, Labels.read(folder / LABELS), folder)
        model.known_names = KnownNames.read(folder / KNOWN_NAMES)
        parts = {name for name, _ in model.named_children()}
        weights = {name: value for name, value in load_file(folder / WEIGHTS).items() if name.split(".")[0] in parts}
        try:
            model.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            raise UnimrError(f"The weights in {folder} do not fit its config.json: {error}") from error
        return model.eval()


class UnifiedRetriever(TextModel):
    """The whole model: the text half, the image encoder, and the composition of a picture with words.

    Args:
        params, labels, saved: as those of `TextModel`.
        image_saved: where the files of the image encoder are, if in another folder than those of the text encoder.
    """

    def __init__(
        self,
        params: ModelParams,
        labels: Labels = CATALOGUE_LABELS,
        saved: Path | None = None,
        image_saved: Path | None = None,
    ) -> None:
        super().__init__(params, labels, saved)
        self.image_encoder = make_image_encoder(params.image, params.dim, image_saved or saved)
        self.composition = nn.Linear(2 * params.dim, params.dim)
        nn.init.zeros_(self.composition.weight)
        nn.init.zeros_(self.composition.bias)

    def embed_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings of pictures `[batch, 3, side, side]` → `[batch, dim]`, unit length."""
        return F.normalize(self.image_encoder(pixels).float(), dim=-1)

    def embed_composed(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Picture + words: `[batch, dim]` and `[batch, dim]` → `[batch, dim]`: their sum and a learned correction."""
        return F.normalize(image + text + self.composition(torch.cat([image, text], dim=-1)).float(), dim=-1)

    @torch.inference_mode()
    def encode_images(self, images: Sequence[bytes]) -> np.ndarray:
        """Embed encoded pictures (PNG, JPEG, WebP) → `[images, dim]` float32, unit length.

        Raises:
            UnimrError: one of them is no picture or too large.
        """
        vectors, size = np.zeros((len(images), self.dim), np.float32), self.params.image.image_size
        for start in range(0, len(images), PICTURES_AT_A_TIME):
            rgba = np.stack([decode_rgba(data, size) for data in images[start : start + PICTURES_AT_A_TIME]])
            photographs = are_photographs(rgba)
            for kind in (False, True):
                chosen = np.flatnonzero(photographs == kind)
                if len(chosen):
                    vectors[start + chosen] = self._embed_views(to_pixels(rgba[chosen]), photographs=kind)
        return vectors

    def _embed_views(self, pixels: torch.Tensor, photographs: bool) -> np.ndarray:
        """Pictures of one kind `[batch, 3, side, side]`, each as the mean over its views `[batch, dim]`."""
        views = views_of_photographs(self.params.image.photograph_views) if photographs else DRAWING_VIEWS
        seen = torch.stack([self.embed_pixels(view) for view in as_seen(pixels.to(self.device), views)])
        return F.normalize(seen.mean(dim=0), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def compose(self, image_vectors: np.ndarray, text_vectors: np.ndarray) -> np.ndarray:
        """Picture + words: two arrays `[queries, dim]` of unit vectors → `[queries, dim]`, unit length."""
        image, text = (torch.from_numpy(vectors).to(self.device) for vectors in (image_vectors, text_vectors))
        return self.embed_composed(image, text).cpu().numpy()
