"""The `hf` text encoder: a Hugging Face model over sub-words, read out word by word."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from unimr.model.hf import HfEncoder, build_backbone
from unimr.model.subwords import SubwordBatch, SubwordPart, SubwordTokenizer
from unimr.model.text_encoder import TextStates
from unimr.model_params import HfTextParams


class HfTextEncoder(HfEncoder):
    """A pretrained text encoder whose states are those of words, so that slots and fusion work as with any other.

    A word is the mean of its sub-words. The text is pooled as the checkpoint was trained: the mean of all sub-words
    with the special ones (Reimers and Gurevych 2019, "Sentence-BERT", section 3), or the first one.
    """

    params: HfTextParams

    def __init__(self, params: HfTextParams, dim: int, tokenizer: SubwordTokenizer, saved: Path | None = None) -> None:
        super().__init__(params, build_backbone(params, saved, "text"))
        self.tokenizer = tokenizer
        hidden = self.backbone.config.hidden_size
        self.project = nn.Linear(hidden, dim)
        self.project_words = nn.Linear(hidden, dim)
        if saved is None and not self.project.weight.is_meta:
            # Keeps the angles between states as well as a map to fewer dimensions can.
            nn.init.orthogonal_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    def save_files(self, folder: Path) -> None:
        """Write the configuration and the tokenizer."""
        super().save_files(folder)
        self.tokenizer.save(folder)

    def forward(self, batch: SubwordBatch) -> TextStates:
        """Encode a batch of texts."""
        layout = batch.layout
        words, states, scores, pooled = zip(*(self._encode(part) for part in batch.parts), strict=True)
        return TextStates(
            self.project_words(layout.joined(words)),
            self.project(layout.joined(states)),
            layout.joined(scores),
            layout,
            self.project(torch.cat(pooled)),
        )

    def _encode(self, part: SubwordPart) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Words before and in context `[texts, tokens, hidden]`, their scores, and pooled texts `[texts, hidden]`."""
        words = self.backbone.get_input_embeddings()(part.ids)  # [texts, subwords, hidden]
        hidden = self.backbone(input_ids=part.ids, attention_mask=part.attention.long()).last_hidden_state
        members = part.members.to(hidden.dtype)
        # A word weighs as much as it has sub-words: then the mean over words is that over sub-words.
        scores = (part.members > 0).sum(-1).clamp_min(1).float().log()
        return members @ words.to(hidden.dtype), members @ hidden, scores, self._pool(hidden, part.attention)

    def _pool(self, hidden: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        """Sub-words `[texts, subwords, hidden]` → texts `[texts, hidden]`."""
        if self.params.pooling == "cls":
            return hidden[:, 0]
        shares = attention.to(hidden.dtype) / attention.sum(1, keepdim=True).to(hidden.dtype)
        return torch.einsum("bs,bsh->bh", shares, hidden)
