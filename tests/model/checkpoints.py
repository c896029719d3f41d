"""Small random checkpoints of real Hugging Face classes, written to disk as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from tests.quality.small_catalogue import small_catalogue

TEXT_KINDS = ("xlm-roberta", "bert")
IMAGE_KINDS = ("siglip", "siglip2", "clip", "dinov2", "vit")
SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def make_tokenizer(folder: Path, kind: str) -> Path:
    """A tokenizer of the kind that a checkpoint has: SentencePiece's unigrams, or BERT's word pieces."""
    corpus = [*small_catalogue()["texts"]["text"], "show me a red cat", "赤い猫を見せて", "!?", "query: "]
    if kind == "xlm-roberta":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>")
        marks = ("<s>", "</s>")
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
        marks = ("[CLS]", "[SEP]")
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{marks[0]} $A {marks[1]}", special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in marks]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_text_checkpoint(folder: Path, kind: str) -> Path:
    """A text encoder of the class of XLM-R, or of BERT (as MiniLM and the smaller E5 and BGE are)."""
    from transformers import AutoConfig, AutoModel

    make_tokenizer(folder, kind)
    pad = {"xlm-roberta": 1, "bert": 0}[kind]
    config = AutoConfig.for_model(kind, **SIZE, vocab_size=320, max_position_embeddings=80, pad_token_id=pad)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def make_image_checkpoint(folder: Path, kind: str) -> Path:
    """A model with a vision tower; of SigLIP, SigLIP 2 and CLIP the whole model, with its text half."""
    from transformers import AutoConfig, AutoModel

    vision = {**SIZE, "image_size": 32, "patch_size": 8}
    if kind == "siglip2":
        vision = {**SIZE, "num_patches": 16, "patch_size": 8}
    if kind in ("siglip", "siglip2", "clip"):
        config = AutoConfig.for_model(kind, vision_config=vision, text_config={**SIZE, "vocab_size": 50})
    else:
        config = AutoConfig.for_model(kind, **vision)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    said = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25], "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder
