"""How sets that were published without a training part are divided."""

from __future__ import annotations

from unimr.data.splits import hash_share

DEV_SHARE = 0.2


def dev_or_train(collection: str, key: str) -> str:
    """`dev` for a fifth of the keys, by their hash, else `train`: the same in every language of a parallel set.

    `unimr evaluate --split test` measures all of such a set: point it at records that were not trained on.
    """
    return "dev" if hash_share("published", collection, key) < DEV_SHARE else "train"
