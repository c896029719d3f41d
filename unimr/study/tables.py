"""The tables of a study, made by the stages `prepare` and `validate` in the study's own folder."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

import pandas as pd

from unimr.data import prepare
from unimr.data.fetch import RAW_FOLDER
from unimr.errors import UnimrError
from unimr.files import read_json, sha256_of, write_json
from unimr.params import Params
from unimr.quality import validate

log = logging.getLogger(__name__)

_INPUTS = (RAW_FOLDER, Path("data/sources"), Path("data/import"), Path("expectations"))
_MADE_OF = "tables.json"


def make_tables(params: Params, root: Path, work: Path) -> None:
    """Write `data/validated` below `work`, unless it is there for these parameters, sources and code.

    The tables of the pipeline in the project folder stay as they are, whatever profile they are of.

    Raises:
        UnimrError: the sources of the catalogue were not fetched, or the tables are not valid.
    """
    digest = _digest(params, root)
    if (work / _MADE_OF).exists() and read_json(work / _MADE_OF) == {"digest": digest}:
        return
    if "emoji" in params.prepare.sources and not (root / RAW_FOLDER).exists():
        raise UnimrError(f"{root / RAW_FOLDER} does not exist. Run `dvc repro fetch`, which brings the catalogue.")
    log.info("Making the tables of profile %s", params.profile)
    shutil.rmtree(work, ignore_errors=True)
    for name in _INPUTS:
        if (root / name).exists():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).symlink_to((root / name).resolve())
    prepare.run(params, work)
    validate.run(params, work)
    write_json(work / _MADE_OF, {"digest": digest})


def check_budget(params: Params, images: pd.DataFrame, utterances: pd.DataFrame) -> None:
    """Compare `study.renderings` and `study.utterances_ask`, by which budgets are counted, with the tables.

    Raises:
        UnimrError: training draws another number of pictures of an item, or utterances ask although they should not.
    """
    asks = bool(utterances["item_id"].notna().any())
    if asks != params.study.utterances_ask:
        raise UnimrError(
            f"study.utterances_ask is {str(params.study.utterances_ask).lower()}, but in the tables of profile "
            f"{params.profile} {'some' if asks else 'no'} utterances ask for an item. Put study: {{utterances_ask: "
            f"{str(asks).lower()}}} into profiles/{params.profile}.yaml."
        )
    most = images.loc[images["split"] == "train", "item_id"].value_counts().max()
    if min(most, 2) != params.study.renderings:
        raise UnimrError(
            f"study.renderings is {params.study.renderings}, but an item of profile {params.profile} has at most "
            f"{most} train pictures. Put study: {{renderings: {min(most, 2)}}} into profiles/{params.profile}.yaml."
        )


def _digest(params: Params, root: Path) -> str:
    package = Path(__file__).parents[1]
    files = sorted(path for part in ("data", "quality") for path in (package / part).rglob("*.py"))
    for folder in (root / "data" / "sources", root / "data" / "import", root / "expectations"):
        files += sorted(path for path in folder.rglob("*") if path.is_file() and "node_modules" not in path.parts)
    sections = [params.data.model_dump(), params.prepare.model_dump(), params.validate_.model_dump()]
    decisive = [*sections, [sha256_of(path) for path in files]]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
