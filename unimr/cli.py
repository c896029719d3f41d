"""The command line. Heavy libraries are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from unimr.errors import UnimrError

# No library of ours may call home; all of these must be set before the libraries are imported.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
# Large tensors in huge pages: a step of training touches hundreds of MB.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

app = typer.Typer(
    name="unimr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search pictures and texts in many languages with one model, and train that model.\n\n"
    'Start with `make demo`, or `dvc repro` in an activated environment; then `unimr search "gato feliz"`.',
)

ROOT = Path()
"""The project folder: the one the command is run in."""


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in any language.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="A picture (PNG, JPEG, WebP) to search with, alone or with words.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Keep only what matches: style=openmoji, year>=2019, … May be repeated."),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="Number of results (10, or what the query says).")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of the query, if the guess is wrong, e.g. pt.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the results to this PNG file.")] = None,
) -> None:
    """Search the published index by words, by a picture, or by a picture changed by words.

    Examples:
      unimr search "gato feliz"

      unimr search "zeig mir bitte ein lachendes Gesicht im Twitter-Stil" -k 5

      unimr search --image hand.png "dark skin tone" --sheet results.png
    """
    gc.disable()  # one answer and the process ends: a tenth of its time would go to cycles among imported code
    from unimr.search.engine import SearchEngine
    from unimr.search.images import read_query_image
    from unimr.search.sheet import render_table, write_sheet

    picture = read_query_image(image) if image else None
    with SearchEngine.open(ROOT) as engine:
        answer = engine.search(text, picture, engine.parse_filters(filters or []), k, lang)
    if sheet:
        write_sheet(answer, sheet)
    if as_json:
        typer.echo(json.dumps(answer.to_json(), ensure_ascii=False, indent=2))
        return
    from rich.console import Console

    Console().print(render_table(answer))
    where = f"; contact sheet in {sheet}" if sheet else ""
    typer.echo(f"{answer.milliseconds:.0f} ms, model {answer.model_version}, index {answer.index_version}{where}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; any but this machine's own needs API keys.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port.")] = None,
) -> None:
    """Serve the search and its page; see `serve` in params.yaml. SIGTERM and Ctrl-C finish what was accepted."""
    from unimr.config import load_params
    from unimr.service.server import serve as serve_index

    given = {"host": host, "port": port}
    params = load_params(ROOT).serve.model_copy(
        update={key: value for key, value in given.items() if value is not None}
    )
    serve_index(params, ROOT, typer.echo)


log_app = typer.Typer(no_args_is_help=True, help="The query log of `unimr serve`.")
app.add_typer(log_app, name="log")


@log_app.command("export")
def log_export(
    days: Annotated[float | None, typer.Option(min=0, help="Only the last so many days.")] = None,
) -> None:
    """Print the query log as JSON Lines, an answered query a line, oldest first."""
    import time

    from unimr.config import load_params
    from unimr.service.logstore import read_log
    from unimr.service.querylog import DAY_SECONDS, place_of

    place = place_of(load_params(ROOT).serve.query_log, ROOT)
    for entry in read_log(place, 0.0 if days is None else time.time() - days * DAY_SECONDS):
        typer.echo(json.dumps(entry, ensure_ascii=False))


@app.command()
def key(name: Annotated[str, typer.Argument(help="Whose key it is; requests are counted by it.")]) -> None:
    """Make an API key for `unimr serve`: shown once, kept by its hash alone."""
    from unimr.service.keys import make_key

    secret, line = make_key(name)
    typer.echo(
        f"Key, for the client (it is shown only now):\n  {secret}\nLine, for the file in serve.keys_file:\n  {line}"
    )


@app.command()
def stage(name: Annotated[str, typer.Argument(help="A stage of dvc.yaml, e.g. prepare.")]) -> None:
    """Run one stage of the pipeline, as `dvc repro` does. Use `dvc repro`, which knows what is up to date."""
    from unimr.stages import run_stage

    run_stage(name, ROOT)


@app.command()
def embed(
    corpus: Annotated[Path, typer.Argument(help="A Parquet file or a folder of them: `id`, and `text` or `image`.")],
    folder: Annotated[Path, typer.Argument(help="Where the embeddings go, a Parquet file for each row group.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")] = Path("models/train_joint"),
) -> None:
    """Embed a large corpus into Parquet; a killed run goes on where it stopped.

    Several processes, on one machine or many, share the row groups:
      accelerate launch --num_processes 8 -m unimr.cli embed corpus/ embeddings/
    """
    from unimr.config import load_params
    from unimr.index.embed_corpus import run

    logging.getLogger("unimr").setLevel(logging.INFO)
    done = run(corpus, folder, model, load_params(ROOT).embed.batch_size)
    typer.echo(f"{done['parts']} parts: {done['embedded']} embedded, {done['done_before']} done before. {folder}")


@app.command("import")
def import_catalogue(
    file: Annotated[Path, typer.Argument(help="JSON Lines, an item a line; see docs/own-data.md.")],
) -> None:
    """Take in your own catalogue: items, texts in any language, pictures by path, annotated utterances.

    Checks the whole file, copies it with its pictures into data/import, and says what to do next.
    """
    from unimr.data.own import import_file

    summary = import_file(file, ROOT)
    typer.echo(
        f"Imported {summary.items:,} items, {summary.texts:,} texts, {summary.pictures:,} pictures and "
        f"{summary.utterances:,} utterances. Next: put `import` into prepare.sources in params.yaml, then `dvc repro`."
    )


@app.command()
def evaluate(
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")] = Path("models/train_joint"),
    data: Annotated[
        Path | None, typer.Option(help="Folder with published data sets; else UNIMR_DATA, or data.root in params.yaml.")
    ] = None,
    split: Annotated[str, typer.Option(help="dev or test.")] = "dev",
    trained: Annotated[
        str, typer.Option(help="Languages the model was trained on, such as en,de; else as it says itself.")
    ] = "",
) -> None:
    """Measure a model on published data sets as they are (docs/datasets.md), per task and language.

    Writes reports/published/<split>/scores.json and scores.md, and prints the latter.
    """
    from unimr.benchmark.run import REPORT, evaluate_folder
    from unimr.config import load_params
    from unimr.data.published.sources import data_root

    if split not in ("dev", "test"):
        raise UnimrError(f"--split {split}: give dev or test.")
    params = load_params(ROOT)
    languages = [lang.strip() for lang in trained.split(",") if lang.strip()]
    folder = data or data_root(params.data, ROOT)
    typer.echo(evaluate_folder(model, folder, split, languages, params.evaluate, ROOT / REPORT / split))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="The folder to write.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")] = Path("models/train_joint"),
) -> None:
    """Write the text half of a model as a SentenceTransformer folder, with a model card (docs/encoders.md)."""
    from unimr.config import load_params
    from unimr.export import export as export_model

    export_model(load_params(ROOT), ROOT, model, folder)
    typer.echo(f"Exported {model} to {folder}. How to use it: {folder / 'README.md'}")


@app.command()
def results() -> None:
    """Print the headline of metrics/evaluation.json as a Markdown table, with intervals and baselines."""
    from unimr.evaluation.results import results_table

    typer.echo(results_table(ROOT))


@app.command()
def publish(
    version: Annotated[str, typer.Argument(help="A version in published/versions, as metrics/index.json names it.")],
) -> None:
    """Make an index version live that was kept back or withdrawn, whatever its figures."""
    from unimr.index.publish import promote

    done = promote(ROOT, version)
    typer.echo(f"Version {done.after} is live; before it was {done.before}.")


@app.command()
def rollback() -> None:
    """Make the index version before the published one live again."""
    from unimr.index.publish import rollback as roll_back

    done = roll_back(ROOT)
    typer.echo(f"Version {done.after} is live again; {done.before} was withdrawn.")


@app.command()
def monitor(
    accept: Annotated[
        bool, typer.Option("--accept", help="Take this window as the reference from now on: it is as it should be.")
    ] = False,
) -> None:
    """Look after the live index and its traffic. Exit status 0: nothing to do. 1: act. 2: drift cannot be told.

    Index: whether it is whole, fresh, and finds what it should. Traffic: whether the last days of the query log differ
    from the reference of the live version. Writes reports/monitoring (open index.html) and metrics/monitor.json.
    """
    from unimr.config import load_params
    from unimr.files import write_json
    from unimr.monitoring.health import REPORT, check_health
    from unimr.monitoring.monitor import PAGE, look

    params = load_params(ROOT)
    health = check_health(params.monitor, ROOT)
    write_json(ROOT / REPORT, health.to_json())
    typer.echo(f"Index. {health.sentence}")
    for finding in health.findings:
        typer.echo(f"  {finding.check}: {finding.verdict}. {finding.text}")
    seen = look(params, ROOT, take_over=accept)
    typer.echo(f"Traffic. {seen.sentence}\n  {ROOT / PAGE}")
    if health.verdict != "healthy" or seen.verdict == "drift":
        raise typer.Exit(1)
    if seen.verdict == "unsure":
        raise typer.Exit(2)


@app.command()
def simulate(
    scenario: Annotated[
        str, typer.Option(help="none, new-language, new-topic, noise, seasonal or chatty-client.")
    ] = "none",
    url: Annotated[str, typer.Option(help="Where the service runs.")] = "http://127.0.0.1:8000",
    queries: Annotated[int, typer.Option(min=1, help="How many queries to send.")] = 500,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of queries that are other than usual.")] = 0.1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same traffic.")] = 0,
    api_key: Annotated[str, typer.Option(envvar="UNIMR_API_KEY", help="Where the service wants one.")] = "",
) -> None:
    """Play traffic made of test queries into a running service, to see what `unimr monitor` says of it."""
    import time

    from unimr.index.embed import TABLES
    from unimr.monitoring.scenarios import Pool, play
    from unimr.monitoring.simulate import send

    asked = play(scenario, Pool.load(ROOT / TABLES), queries, share, seed)
    played = send(url, asked, f"{scenario}-{time.time_ns() // 1_000_000}", api_key)
    typer.echo(
        f"{scenario}: {played.queries:,} queries in {played.sessions:,} sessions, {played.seconds:.0f} s. "
        "Next: unimr monitor"
    )


@app.command()
def calibrate(
    windows: Annotated[int, typer.Option(min=1, help="Windows without a change.")] = 1000,
    trials: Annotated[int, typer.Option(min=1, help="Windows of each change.")] = 100,
) -> None:
    """Measure how far the drift verdict can be trusted: alarms with and without a change (half an hour).

    Writes metrics/drift_calibration.json, plots/drift_power.csv and docs/pictures/drift-power.png.
    """
    from unimr.config import load_params
    from unimr.monitoring.calibrate import CHANGES
    from unimr.monitoring.calibrate import calibrate as run_calibration
    from unimr.monitoring.drift import CALIBRATION

    logging.getLogger("unimr").setLevel(logging.INFO)
    counts = run_calibration(load_params(ROOT), ROOT, windows, trials)
    for name in ("none", "none_one_reference", *CHANGES):
        typer.echo(f"{name}: {counts[name]['alarms']} of {counts[name]['windows']} windows alarm")
    typer.echo(f"  {ROOT / CALIBRATION}")


@app.command()
def study(
    profile: Annotated[str, typer.Option(help="Whose tables, model and steps; else study.profile.")] = "",
    seeds: Annotated[int, typer.Option(min=0, help="How many; 0: study.seeds.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Runs side by side; 0: study.jobs.")] = 0,
) -> None:
    """Put the claims to the test: the model against variants of it and against peers, at the same budget (hours).

    Writes metrics/study.json, plots/study.csv and reports/study (open index.html). What was run is kept: a study that
    was stopped goes on. `make study` installs the peers first. See docs/study.md.
    """
    from unimr.study.study import run_study

    logging.getLogger("unimr.study").setLevel(logging.INFO)
    for answer in run_study(ROOT, profile, seeds, jobs):
        typer.echo(f"{answer.question}\n  {answer.sentence}")


@app.command()
def profile(
    name: Annotated[str, typer.Argument(help="demo, ci, gpu, photos, paper or study: a file in profiles/.")],
) -> None:
    """Choose the profile: sets the one key `profile` in params.yaml. Then run `dvc repro`."""
    from unimr.config import choose_profile

    choose_profile(name, ROOT)
    typer.echo(f"Profile {name}. Next: dvc repro")


def main() -> None:
    """Entry point: a user's mistake is one paragraph on standard error and exit status 1, never a traceback."""
    atexit.register(gc.freeze)  # else Python looks for cycles among all that torch made: a second at every end
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    process = os.environ.get("RANK", "0")  # of several that were launched together; the first speaks for all
    if sys.argv[1:2] == ["stage"] and process == "0":  # a stage says what it does; its libraries only what is wrong
        logging.getLogger("unimr").setLevel(logging.INFO)
    try:
        app()
    except UnimrError as error:
        where = f" in process {process}" if "RANK" in os.environ else ""
        typer.secho(f"Error{where}: {error}", fg=typer.colors.RED, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
