from __future__ import annotations

from prefect.artifacts import Artifact

from flows import study as module
from flows.study import StudyParameters, study
from unimr.study.answers import Answer


def test_the_run_says_the_answer_and_shows_all(server, tmp_path, monkeypatch):
    asked = []

    def answer(root, profile, seeds, jobs, tell):
        asked.append((profile, seeds, jobs))
        tell("1 of 1 runs are done")
        return [Answer("Does it?", "It does.", ()), Answer("And that?", "Not shown.", ())]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "run_study", answer)
    monkeypatch.setattr(module, "page_path", lambda root, profile: root / "reports/study/index.html")
    state = study(StudyParameters(profile="ci", seeds=2, jobs=3), return_state=True)
    assert (state.name, state.message) == ("Completed", "It does.")
    assert asked == [("ci", 2, 3)]
    artifact = Artifact.get("study")
    assert artifact.description == "It does."
    assert "**And that?** Not shown." in artifact.data and str(tmp_path / "reports/study/index.html") in artifact.data
