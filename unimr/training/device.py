"""What the device decides: threads and precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

THREADS = int(os.environ.get("UNIMR_THREADS", "2"))
"""CPU threads of a training run. Fixed, since sums in another order give other bytes; the study, which has runs side by
side, gives each run one.
"""


def mixed_precision() -> str:
    """`bf16` where the processor or GPU multiplies it in hardware, else `no`: emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "no"


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many CPU threads inside, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
