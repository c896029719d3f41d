"""The published data sets by name, and reading those that are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from unimr.data.published import (
    coco,
    crossmodal,
    flickr,
    flickr8kcn,
    karpathy,
    massive,
    multi30k,
    ntrex,
    tatoeba,
    webdataset,
    xquad,
    xsid,
    xtd10,
)
from unimr.data.published.reading import Folder, Reading
from unimr.data.published.records import Dataset, tidied
from unimr.errors import UnimrError
from unimr.params import DataParams, SourceParams

ROOT_VARIABLE = "UNIMR_DATA"

READERS: dict[str, Callable[[Reading], None]] = {
    "flickr": flickr.read,
    "flickr8kcn": flickr8kcn.read,
    "karpathy": karpathy.read,
    "multi30k": multi30k.read,
    "coco": coco.read,
    "crossmodal": crossmodal.read,
    "xtd10": xtd10.read,
    "massive": massive.read,
    "xsid": xsid.read,
    "xquad": xquad.read,
    "ntrex": ntrex.read,
    "tatoeba": tatoeba.read,
    "webdataset": webdataset.read,
}
"""Name in `data.sources` → what reads it. Where two state the same photograph, the first one's file is taken."""


def data_root(params: DataParams, root: Path) -> Path:
    """The folder that holds the data sets: the variable `UNIMR_DATA`, else `data.root` of params.yaml.

    Raises:
        UnimrError: neither is set.
    """
    found = os.environ.get(ROOT_VARIABLE) or params.root
    if not found:
        raise UnimrError(
            "Where the published data sets lie is not known. Set data.root in params.yaml or the environment variable "
            f"{ROOT_VARIABLE} to the folder that holds them (docs/datasets.md)."
        )
    return root / found


def read_sources(folder: Path, sources: Sequence[SourceParams]) -> Dataset:
    """Read sources, each below its own folder in `folder`; every item is in one split.

    Raises:
        UnimrError: a folder is missing, or a source has no record there.
    """
    data = Dataset()
    folders = {source.root: Folder(folder / source.root) for source in sources}
    for source in sources:
        before = sum(data.counts.values())
        READERS[source.name](Reading(source.name, folders[source.root], data, source.lang))
        if sum(data.counts.values()) == before:
            problem = f" The first problem: {data.bad[-1].reason}." if data.bad else ""
            raise UnimrError(
                f"data.sources: {source.name} has no record in {folder / source.root}.{problem} "
                "docs/datasets.md says which files it reads."
            )
    return tidied(data)


def read_all(folder: Path) -> Dataset:
    """Read whatever is below a folder in a published format.

    Raises:
        UnimrError: there is no such folder, or nothing in it is in a published format.
    """
    files, data = Folder(folder), Dataset()
    for name, read in READERS.items():
        read(Reading(name, files, data))
    if not data.counts:
        raise UnimrError(f"Nothing in {folder} is in a published format that docs/datasets.md lists.")
    return tidied(data)
