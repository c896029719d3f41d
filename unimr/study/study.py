"""`unimr study`: make the tables, train every variant and peer with every seed, compare, and write what came out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from unimr.config import load_params
from unimr.data.mixture import LABELS
from unimr.evaluation.tasks import Tables
from unimr.files import write_json
from unimr.params import Params
from unimr.study import plots
from unimr.study.answers import Answer, answers
from unimr.study.compare import Comparison, compare_all
from unimr.study.report import Study, write_page
from unimr.study.result import Result
from unimr.study.runs import planned, read_all, run_all
from unimr.study.tables import check_budget, make_tables
from unimr.study.variants import PEERS, SEPARATE, UNIFIED, UNIFIED_LONG, budget_of

log = logging.getLogger(__name__)

WORK = Path(".work/study")
TIMED_QUERIES = 50


def run_study(
    root: Path, profile: str = "", seeds: int = 0, jobs: int = 0, tell: Callable[[str], object] = log.info
) -> list[Answer]:
    """Run the study in the project folder and give its answers.

    Writes `metrics/study.json`, `plots/study.csv` and in `reports/study/` the page and its plots; of a profile other
    than `study.profile` all of them with its name, so that they stand beside each other. Results lie in
    `.work/study/<profile>`, where a study that was killed goes on.

    Args:
        root: the project folder.
        profile: whose tables, model and steps; empty: `study.profile`.
        seeds: how many; 0: `study.seeds`.
        jobs: runs side by side; 0: `study.jobs`.
        tell: is given a line for each run that is done.

    Raises:
        UnimrError: the parameters do not fit, the tables cannot be made, or a run failed.
    """
    params = load_params(root, {"profile": profile or load_params(root).study.profile})
    runs = planned([*params.study.variants, *params.study.peers], seeds or params.study.seeds)
    work = (root / WORK / params.profile).absolute()
    make_tables(params, root, work)
    tables = Tables.load(work / "data" / "validated")
    check_budget(params, tables.images, tables.utterances)
    run_all(runs, root.absolute(), params.profile, work, jobs or params.study.jobs, tell)
    results = read_all(runs, root.absolute(), params.profile, work)
    comparisons = compare_all(results, params.study.bootstrap_samples)
    together = _together(results, params.study.bootstrap_samples)
    spent = {name: round(fmean(each.notes["cpu_seconds"] for each in found), 1) for name, found in results.items()}
    baselines = results[UNIFIED][0].notes["baselines"]
    study = Study(comparisons, together, baselines, _saved(params, tables, work), spent, budget_of(params))
    return _write(root, study, params, suffix_of(root, params.profile))


def _together(results: dict[str, list[Result]], samples: int) -> list[Comparison]:
    """Separate models and peers against one that spends as much as three of them; empty where that was not run."""
    chosen = {name: results[name] for name in (UNIFIED_LONG, *SEPARATE, *PEERS) if name in results}
    return compare_all(chosen, samples, base=UNIFIED_LONG) if UNIFIED_LONG in chosen else []


def suffix_of(root: Path, profile: str) -> str:
    """What the names of files of a profile end with: nothing for the default one."""
    return "" if profile in ("", load_params(root).study.profile) else f"_{profile}"


def page_path(root: Path, profile: str = "") -> Path:
    """Where the page of a study lies."""
    return root / "reports" / f"study{suffix_of(root, profile)}" / "index.html"


def _saved(params: Params, tables: Tables, work: Path) -> dict[str, dict[str, float]]:
    from unimr.model.nlu import Labels
    from unimr.study.saving import saving

    labels = Labels.read(work / "data" / "validated" / LABELS)
    return saving(params.model, labels, list(tables.queries["text"][:TIMED_QUERIES]))


def _write(root: Path, study: Study, params: Params, suffix: str) -> list[Answer]:
    """Write metrics, CSV, plots and page; the names of a profile other than the default one carry it."""
    said = answers(study.comparisons, study.together, study.saved)
    folder = page_path(root, params.profile).parent
    write_json(root / "metrics" / f"study{suffix}.json", study.to_json(said, params))
    plots.write_csv(root / "plots" / f"study{suffix}.csv", study.comparisons)
    plots.write_png(folder, study.comparisons)
    write_page(folder, study, said, params)
    return said
