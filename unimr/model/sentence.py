"""The text half of a model as a module of sentence-transformers, so that its tools can use it.

Only this file knows sentence-transformers from the inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule

from unimr.errors import UnimrError
from unimr.model.manifest import TEXT_MODEL, verify_manifest
from unimr.model.retriever import TextModel


class TextModule(InputModule):  # type: ignore[misc]
    """A `TextModel` behind the interface of sentence-transformers: text encoder, NLU module, fusion, projection."""

    save_in_root = False

    def __init__(self, model: TextModel, notes: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.notes = model, notes

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """Texts as they go into `forward`; the tokenizer is inside the model."""
        return {"texts": [(prompt or "") + text for text in inputs]}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add `sentence_embedding [batch, dim]`, of unit length."""
        return features | {"sentence_embedding": self.model.embed_texts(features["texts"])}

    def get_embedding_dimension(self) -> int:
        """Width of the embeddings."""
        return self.model.dim

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Save the module's folder."""
        self.model.save(Path(output_path), self.notes)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = TEXT_MODEL, **options: Any) -> Self:
        """Load from the folder of a SentenceTransformer, after checking every file.

        Raises:
            UnimrError: something is missing or damaged.
        """
        known = {
            name: options[name] for name in ("token", "cache_folder", "revision", "local_files_only") if name in options
        }
        folder = cls.load_dir_path(model_name_or_path, subfolder=subfolder, **known)
        if folder is None:
            raise UnimrError(
                f"{model_name_or_path} has no folder {subfolder}: it is no model that `unimr export` wrote."
            )
        return cls(TextModel.load(Path(folder)), verify_manifest(Path(folder))["notes"])


def load_sentence_transformer(folder: str) -> SentenceTransformer:
    """The SentenceTransformer that `unimr export` wrote.

    Since version 6 the library's own constructor refuses classes of other packages unless it is told to trust all
    code that a folder names. Here the class is named by us, so that no such trust is needed.

    Raises:
        UnimrError: something is missing or damaged.
    """
    return SentenceTransformer(modules=[TextModule.load(folder)], similarity_fn_name="cosine")
