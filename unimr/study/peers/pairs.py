"""The pairs that peers are trained on: a text, and another text of its item."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unimr.data.tables import read_table
from unimr.errors import UnimrError
from unimr.model.retriever import UnifiedRetriever
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import NgramTokenizer
from unimr.model_params import TextEncoderParams
from unimr.params import Params
from unimr.training.corpus import Items, TextCorpus, ngram_idf

UTTERANCE_SHARE = 1 / 3
"""Share of utterances among the anchors: about what they are of all texts that `unified` trains on."""
ENGLISH_SHARE = 0.5
"""How often the other text is an English name, which is what most tasks search."""


class Pairs:
    """Train texts with another text of the same item, drawn from the roles that the unified model draws from.

    Attributes:
        corpus: names, keywords and descriptions.
        tokenizer: knows the words of all train texts.

    Raises:
        UnimrError: the text encoder is not `ngram`.
    """

    def __init__(self, params: Params, tables: Path) -> None:
        text = params.model.text
        if not isinstance(text, TextEncoderParams):
            raise UnimrError(
                "study.peers: the peers are trained with the text encoder `ngram`, and model.text.kind is "
                f"{text.kind}. Leave them out, or study a profile with `ngram`."
            )
        self.tokenizer = NgramTokenizer(text.buckets, text.ngram_max, text.max_words)
        texts, utterances = read_table(tables, "texts"), read_table(tables, "utterances")
        items = Items.read(tables)
        self.corpus = TextCorpus(texts, utterances[:0], items.item_ids, self.tokenizer, items.variants, tables)
        number = {item_id: place for place, item_id in enumerate(items.item_ids)}
        asked = utterances[(utterances["split"] == "train") & utterances["item_id"].isin(number.keys())]
        found = zip(asked["text"], asked["item_id"].map(number), strict=True)
        self._utterances = [(text, int(item)) for text, item in found if self.has_caption(int(item))]
        for utterance, _ in self._utterances:
            self.tokenizer.words(utterance)
        self.idf = ngram_idf(self.tokenizer.ngrams, text.buckets)
        """Weights of the n-gram buckets `[buckets]`, of the same texts as those of the unified model."""

    def untrained(self, params: Params) -> tuple[UnifiedRetriever, NgramTextEncoder]:
        """A model without NLU in its texts, and its text encoder, which knows how rare each n-gram is."""
        nlu = params.model.nlu.model_copy(update={"fusion": False})
        retriever = UnifiedRetriever(params.model.model_copy(update={"nlu": nlu}))
        encoder = retriever.text_encoder
        if not isinstance(encoder, NgramTextEncoder):
            raise TypeError(f"expected the encoder of these parameters, not {type(encoder).__name__}")
        encoder.idf.copy_(self.idf)
        return retriever, encoder

    def draw(self, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
        """`count` pairs (anchor, positive)."""
        anchors = self._anchors(count, rng)
        return [(text, self.caption(item, rng)) for text, item in anchors]

    def has_caption(self, item: int) -> bool:
        """Whether an item has a name or a keyword in any language."""
        return self.corpus.has_caption(item)

    def caption(self, item: int, rng: np.random.Generator) -> str:
        """A text of an item: an English name or, as often, a name or keyword in any language."""
        english = self.corpus.english_names.get(item)
        if english is None or rng.random() >= ENGLISH_SHARE:
            return self.corpus.texts[self.corpus.caption(item, rng)]
        return self.corpus.texts[english]

    def _anchors(self, count: int, rng: np.random.Generator) -> list[tuple[str, int]]:
        asked = round(count * UTTERANCE_SHARE) if self._utterances else 0
        drawn = [self._utterances[place] for place in rng.integers(0, max(len(self._utterances), 1), asked)]
        for number in self.corpus.sample(count - asked, rng).tolist():
            item = int(rng.choice(self.corpus.positives[number]))
            if self.has_caption(item):
                drawn.append((self.corpus.texts[number], item))
        return [drawn[place] for place in rng.permutation(len(drawn))]
