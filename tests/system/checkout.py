"""A project folder of its own with profile `ci`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Project:
    """A git checkout with its own DVC cache; `run` runs a command in it."""

    root: Path
    first_seconds: float = 0.0

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command with this environment's programs first on PATH."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.root, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            output = f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
            raise AssertionError(f"{' '.join(command)} gave {done.returncode}\n{output}")
        return done


def checkout(folder: Path) -> Project:
    """Copy what git tracks of this project into a new repository with profile `ci`."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.run("unimr", "profile", "ci")
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "config", "user.name", "test")
    commit(project)
    return project


def commit(project: Project) -> None:
    """Commit everything that is not ignored."""
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "state")
