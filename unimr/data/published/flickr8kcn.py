"""Flickr8k-CN (Li et al. 2016, "Adding Chinese Captions to Images"): lines `name.jpg#zhc#k caption`."""

from __future__ import annotations

import re

from unimr.data.published.flickr import add_captions, captions_of, flickr_splits
from unimr.data.published.reading import Reading

FILES = ("flickr8kzhc.caption.txt", "flickr8kzhb.caption.txt")
"""Captions written by Chinese speakers, and those translated by people."""

_LINE = re.compile(r"(?P<name>[^\s#]+)#zh[a-z]#[0-9]+ +(?P<caption>.*)")


def read(reading: Reading) -> None:
    """Read the Chinese captions."""
    found = (caption for file in FILES for caption in captions_of(reading, file, _LINE, "zh"))
    add_captions(reading, found, flickr_splits(reading))
