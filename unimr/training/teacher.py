"""A frozen sentence encoder as the teacher of stage 1: what it says of each train text.

Texts in the teacher's languages are embedded as they are. A text in any other language is given what the teacher says
of the names of its items in its own languages: the translation is to lie where the original lies (Reimers and
Gurevych 2020, "Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation", section 2).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from unimr.errors import UnimrError
from unimr.files import atomic_file, sha256_of
from unimr.model.hf import check_name, require_package
from unimr.params import TeacherParams
from unimr.training.corpus import TextCorpus
from unimr.training.device import THREADS

log = logging.getLogger(__name__)

CACHE = Path(".work/teacher")


@dataclass(frozen=True)
class Teacher:
    """What the teacher says of the texts of a corpus.

    Attributes:
        vectors: embeddings of the strings that the teacher read `[strings, width]`, unit length.
        rows: for each text of the corpus the rows of `vectors` whose mean is its target; none if it has no target.
    """

    vectors: np.ndarray
    rows: list[np.ndarray]

    def targets(self, numbers: np.ndarray) -> torch.Tensor:
        """Targets of texts by number `[batch, width]`, unit length; zeros where there is none."""
        found = np.zeros((len(numbers), self.vectors.shape[1]), dtype=np.float32)
        for place, number in enumerate(numbers):
            if len(self.rows[number]):
                mean = self.vectors[self.rows[number]].mean(0)
                found[place] = mean / max(1e-6, float(np.linalg.norm(mean)))
        return torch.from_numpy(found)


def ask_teacher(params: TeacherParams, corpus: TextCorpus, root: Path) -> Teacher:
    """Embed what the teacher can read of the corpus, or take it from the cache in `.work/teacher`.

    Raises:
        UnimrError: the teacher cannot be had, or no text is in a language of its.
    """
    known = [number for number, (_, lang, _) in enumerate(corpus.keys) if lang in params.languages]
    if not known:
        raise UnimrError(f"train_text.teacher.languages: no train text is in {', '.join(params.languages)}.")
    strings = sorted({corpus.texts[number] for number in known})
    place = {text: row for row, text in enumerate(strings)}
    names: dict[int, set[int]] = {}
    for number in known:
        if corpus.keys[number][0] in ("name", "variant"):
            for item in corpus.positives[number].tolist():
                names.setdefault(item, set()).add(place[corpus.texts[number]])
    rows = [np.array(sorted(set().union(*(names.get(item, ()) for item in of)))) for of in corpus.positives]
    for number in known:
        rows[number] = np.array([place[corpus.texts[number]]])
    return Teacher(_embeddings(params.name, strings, root), rows)


def _embeddings(name: str, strings: Sequence[str], root: Path) -> np.ndarray:
    """The teacher's unit vectors of texts `[texts, width]`, read from or written to the cache."""
    require_package("sentence_transformers", "train_text.teacher")
    content = hashlib.sha256("\n".join([folder_hash(check_name(name)), *strings]).encode()).hexdigest()
    path = root / CACHE / f"{content[:16]}.safetensors"
    if path.exists():
        try:
            vectors: np.ndarray = load_file(path)["vectors"]
        except SafetensorError as error:
            log.warning("The cache %s is damaged (%s); the teacher is asked again.", path, error)
        else:
            log.info("teacher: %d texts reused", len(vectors))
            return vectors
    vectors = _encode(name, strings)
    with atomic_file(path) as temporary:
        temporary.write_bytes(save({"vectors": vectors}))
    log.info("teacher: %d texts encoded", len(vectors))
    return vectors


def _encode(name: str, strings: Sequence[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UnimrError(
            f"train_text.teacher.name: {name} is no SentenceTransformer that can be had ({reason}). "
            "Give the folder of one (`hf download NAME --local-dir FOLDER` fetches it), or a name on the hub."
        ) from error
    return np.asarray(model.encode(list(strings), normalize_embeddings=True, show_progress_bar=False), np.float32)


def folder_hash(name: str) -> str:
    """Hash of the files in a folder; a name on the hub stands for itself."""
    if not Path(name).is_dir():
        return name
    files = sorted(path for path in Path(name).rglob("*") if path.is_file())
    return hashlib.sha256("".join(f"{path.relative_to(name)}{sha256_of(path)}" for path in files).encode()).hexdigest()
