"""The stage `evaluate`: measure the final model, write metrics, plots and the report."""

from __future__ import annotations

import logging
from pathlib import Path

from unimr.evaluation import plots, report
from unimr.evaluation.headline import RETAINED, headline, retained
from unimr.evaluation.latency import encoding_latency, model_size
from unimr.evaluation.measure import Evaluation, Options, measure, measured_on, picture_bytes
from unimr.evaluation.retrieval import FloatArray
from unimr.evaluation.scoring import Encoder, Retriever, WorstQuery, worst_queries
from unimr.evaluation.tasks import Tables
from unimr.files import read_json, write_json
from unimr.index.embed import EMBEDDINGS, MANIFEST, data_hash, read_manifest, read_rows
from unimr.index.schema import IMAGES
from unimr.params import Params

logger = logging.getLogger(__name__)

TABLES = Path("data/validated")
MODEL = Path("models/train_joint")
REPORT = Path("reports/evaluation")

WORST_TASKS = ("name_to_name", "intent_distractor_to_item", "name_to_image_unseen_style")
"""Tasks whose worst queries the report shows."""

WORST_SHOWN = 10
TIMED_INPUTS = 50


def run(params: Params, root: Path) -> None:
    """Measure `models/train_joint` on `data/validated`; see `write_evaluation` for what is written.

    Raises:
        UnimrError: the model or a table is missing or damaged.
    """
    from unimr.model.manifest import model_version
    from unimr.model.retriever import UnifiedRetriever

    write_evaluation(UnifiedRetriever.load(root / MODEL), model_version(root / MODEL), params, root)


def write_evaluation(model: Retriever, version: str, params: Params, root: Path) -> None:
    """Measure a model of the given version and write what was found.

    Writes `metrics/evaluation.json` (the same model and tables give the same bytes), `metrics/latency.json`,
    `plots/languages.csv`, `plots/nlu_confusion.csv`, and in `reports/evaluation/` the page and the PNG plots.
    """
    tables = Tables.load(root / TABLES)
    encoder = Encoder(model, picture_bytes(tables), embedded_pictures(root, version))
    options = Options(
        samples=params.evaluate.bootstrap_samples,
        seed=params.evaluate.seed,
        baselines=True,
        leading_dims=[dim for dim in params.model.matryoshka_dims if dim < params.model.dim],
    )
    evaluation = measure(encoder, tables, options)
    kept = retained(evaluation.metrics(), _stage_metrics(root))
    size = model_size(model, root / MODEL)
    origin = {"measured_on": measured_on(root / TABLES), "model": {"version": version} | size}
    write_json(root / "metrics" / "evaluation.json", evaluation.metrics() | {"retained": kept} | origin)
    latency = encoding_latency(
        model, list(tables.queries["text"][:TIMED_INPUTS]), list(tables.images["image"][:TIMED_INPUTS])
    )
    write_json(root / "metrics" / "latency.json", latency)
    rows = headline(evaluation)
    plots.write_csv(root / "plots", evaluation, rows)
    plots.write_png(root / REPORT, evaluation, rows)
    worst = _worst(evaluation, encoder)
    facts = report.Facts(params.profile, kept, params.train_joint.regression_margin, size, latency)
    report.write_report(root / REPORT / "index.html", evaluation, rows, worst, tables, facts)
    verdicts = [row.verdict for row in rows]
    logger.info("targets: %d met, %d missed", verdicts.count("met"), verdicts.count("missed"))


def embedded_pictures(root: Path, version: str) -> dict[str, FloatArray]:
    """image_id → vector, as the stage `embed` has encoded it: empty where that was another model or other tables.

    Raises:
        UnimrError: they are damaged.
    """
    folder = root / EMBEDDINGS
    if not (folder / MANIFEST).exists():
        return {}
    manifest = read_manifest(folder)
    if (manifest["model_version"], manifest["data_hash"]) != (version, data_hash(root / TABLES)):
        return {}
    rows = read_rows(folder / f"{IMAGES.name}.parquet", IMAGES)
    return dict(zip(rows.ids(IMAGES), rows.vectors, strict=True))


def _stage_metrics(root: Path) -> dict[str, dict[str, float]]:
    files = {stage: root / "models" / stage / "metrics.json" for stage in RETAINED}
    return {stage: read_json(file) for stage, file in files.items() if file.exists()}


def _worst(evaluation: Evaluation, encoder: Encoder) -> dict[str, list[WorstQuery]]:
    results = {name: evaluation.tasks[name] for name in WORST_TASKS if name in evaluation.tasks}
    return {name: worst_queries(result.task, result.values, encoder, WORST_SHOWN) for name, result in results.items()}
