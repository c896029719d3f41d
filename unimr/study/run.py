"""One run of the study: train a variant or a peer with one seed, measure it, leave the result as a file.

`python -m unimr.study.run ROOT PROFILE NAME SEED WORK` is what `unimr study` starts, several side by side.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import resource
import shutil
import sys
from pathlib import Path

from unimr.errors import UnimrError
from unimr.evaluation.measure import Options, measure, picture_bytes
from unimr.evaluation.scoring import Encoder, Retriever
from unimr.evaluation.tasks import Tables
from unimr.files import sha256_of
from unimr.params import Params
from unimr.processes import die_with_parent
from unimr.stages import STAGES as FUNCTIONS
from unimr.study.result import Result
from unimr.study.variants import ALL, PEERS, STAGES, UNIFIED, spent, variant_params

log = logging.getLogger(__name__)

TABLES = Path("data/validated")
ENGLISH_ONLY = ("minilm",)
_CODE = (
    "data/text.py", "data/tables.py", "data/mixture.py", "model/*.py", "training/**/*.py",
    *(f"evaluation/{name}.py" for name in ("measure", "scoring", "tasks", "retrieval", "nlu")),
)  # fmt: skip
"""Code that decides a result, besides that which makes the tables."""
_CODE_OF_PEERS = ("study/peers/*.py",)


def result_path(root: Path, profile: str, name: str, seed: int, work: Path) -> Path:
    """Where the result of a run lies: the name has the hash of the parameters, the tables and the code."""
    params, package = variant_params(root, profile, name, seed), Path(__file__).parents[1]
    parts = (*_CODE, *_CODE_OF_PEERS) if name in PEERS else _CODE
    code = [path for part in parts for path in sorted(package.glob(part))]
    files = [sha256_of(path) for path in [*sorted((work / TABLES).iterdir()), *code]]
    sections = {section: getattr(params, section).model_dump() for section in ("model", *STAGES)}
    study = params.study.model_dump(include={"budget", "cost", name}) if name in PEERS else {}
    decisive = {**sections, "study": study, "files": files, "name": name}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    return work / "results" / f"{name}-{seed}-{digest}.safetensors"


def run(root: Path, profile: str, name: str, seed: int, work: Path) -> None:
    """Train and measure, unless the result is there already. A killed run goes on from its last checkpoint.

    Args:
        root: the project folder, whose parameters are read.
        profile: of the parameters.
        name: a variant or a peer.
        seed: of every stage.
        work: the folder of the study, with the tables.
    """
    path = result_path(root, profile, name, seed, work)
    if path.exists():
        return
    params, project = variant_params(root, profile, name, seed), work / "runs" / f"{name}-{seed}"
    (project / TABLES.parent).mkdir(parents=True, exist_ok=True)
    if not (project / TABLES).exists():
        (project / TABLES).symlink_to((work / TABLES).resolve())
    model = train_peer(name, params, project) if name in PEERS else train_variant(params, project)
    used = resource.getrusage(resource.RUSAGE_SELF)
    notes = {"cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "samples": round(spent(params))}
    tables = _english(Tables.load(project / TABLES)) if name in ENGLISH_ONLY else Tables.load(project / TABLES)
    options = Options(only=ALL[name].tasks, baselines=name == UNIFIED)
    Result.of(measure(Encoder(model, picture_bytes(tables)), tables, options), notes).write(path)
    shutil.rmtree(project)


def train_variant(params: Params, project: Path) -> Retriever:
    """Run the four stages in a folder of their own; a stage that is done is not run again."""
    from unimr.model.retriever import UnifiedRetriever

    for stage in STAGES:
        done = project / f"{stage}.done"
        if not done.exists():
            module, function = FUNCTIONS[stage].split(":")
            getattr(importlib.import_module(module), function)(params, project)
            done.touch()
    return UnifiedRetriever.load(project / "models" / "train_joint")


def train_peer(name: str, params: Params, project: Path) -> Retriever:
    """Train a peer on the tables of the folder, for the budget of `unified`."""
    found: Retriever = importlib.import_module(f"unimr.study.peers.{name}").train(params, project / TABLES)
    return found


def _english(tables: Tables) -> Tables:
    queries = tables.queries[tables.queries["lang"] == "en"]
    return Tables(tables.images, tables.texts, queries, tables.qrels, tables.utterances)


def main() -> int:
    """Run what the arguments say; a mistake of the user's is one line."""
    die_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    root, profile, name, seed, work = sys.argv[1:]
    try:
        run(Path(root), profile, name, int(seed), Path(work))
    except UnimrError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
