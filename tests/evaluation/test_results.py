import json
import re
import subprocess

import pytest

from tests.system.checkout import ROOT
from unimr.errors import UnimrError
from unimr.evaluation.results import results_table


def test_the_figures_of_the_readme_are_those_of_the_committed_metrics(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what was committed is not known")
    show = ["git", "show", "HEAD:metrics/evaluation.json"]  # not the file, which a training of one's own changes
    committed = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/evaluation.json").write_text(committed)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in filter(None, results_table(tmp_path).splitlines()):
        assert line in readme, f"not in README.md, which `unimr results` fills: {line}"


def test_what_was_not_measured_is_said(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/evaluation.json").write_text(json.dumps({}))
    rows = results_table(tmp_path).splitlines()[2:]
    assert rows and all(re.search(r"not measured", row) for row in rows)


def test_without_metrics_it_says_what_to_do(tmp_path):
    with pytest.raises(UnimrError, match=r"evaluation\.json"):
        results_table(tmp_path)
