from __future__ import annotations

import errno
import logging
import os
import signal

import pytest
import torch

from unimr.errors import UnimrError
from unimr.training.checkpoint import STATE_FILE
from unimr.training.loop import Rates, _batches, train
from unimr.training.text_task import TextTask

RATES = Rates(1e-3, 2e-2)
STEPS, EVERY = 11, 3
BROKEN_STEP = 7


class Counting(TextTask):
    """Calls `at_step` in place of the loss when it comes to step 7."""

    steps_run = 0
    first = 0

    def __call__(self, batch):
        self.steps_run += 1
        result = super().__call__(batch)
        return self.at_step(*result) if self.first + self.steps_run - 1 == BROKEN_STEP else result

    def at_step(self, loss, report, samples):
        return loss, report, samples


class Interrupted(Counting):
    def at_step(self, loss, report, samples):
        raise KeyboardInterrupt


class NanLoss(Counting):
    def at_step(self, loss, report, samples):
        return loss * torch.nan, report, samples


class NanGradient(Counting):
    def at_step(self, loss, report, samples):
        return loss + (self.projection.bias * 0).abs().sqrt().sum(), report, samples


class Terminated(Counting):
    def at_step(self, loss, report, samples):
        os.kill(os.getpid(), signal.SIGTERM)
        return loss, report, samples


@pytest.fixture(scope="module")
def stage(params):
    return params.train_text.model_copy(update={"steps": STEPS, "checkpoint_every": EVERY})


@pytest.fixture
def work(tmp_path):
    return tmp_path / "train_text" / "0123456789abcdef"


@pytest.fixture(scope="module")
def expected(make_task, stage, tmp_path_factory):
    """Weights of a run that was never interrupted."""
    return run(make_task(), stage, tmp_path_factory.mktemp("whole") / "work")


def run(task, stage, work):
    train(task, stage, work, RATES)
    return {name: value.clone() for name, value in task.module.state_dict().items()}


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def checkpoints(work):
    return sorted(path.name for path in work.iterdir())


def test_two_runs_are_the_same_and_another_seed_is_not(make_task, stage, work, expected):
    assert same(run(make_task(), stage, work), expected)
    assert not same(run(make_task(), stage.model_copy(update={"seed": 1}), work.with_name("other")), expected)


def test_the_loss_falls(make_task, stage, work, caplog):
    longer = stage.model_copy(update={"steps": 60, "checkpoint_every": 60})
    task = make_task()
    losses = []
    task_call = task.__class__.__call__

    class Recorded(TextTask):
        def __call__(self, batch):
            found = task_call(self, batch)
            losses.append(found[1]["text"])
            return found

    run(make_task(Recorded), longer, work)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_an_interrupted_run_goes_on_with_the_same_bytes(make_task, stage, work, expected, caplog):
    with pytest.raises(KeyboardInterrupt):
        run(make_task(Interrupted), stage, work)
    assert checkpoints(work) == ["step-00000003", "step-00000006"]
    task = make_task(Counting)
    with caplog.at_level(logging.INFO):
        assert same(run(task, stage, work), expected)
    assert task.steps_run == STEPS - 6
    assert "going on after step 6 of 11" in caplog.text


def test_a_finished_run_is_not_trained_again(make_task, stage, work, expected):
    run(make_task(), stage, work)
    task = make_task(Counting)
    assert same(run(task, stage, work), expected)
    assert task.steps_run == 0


def truncate(folder):
    path = folder / STATE_FILE
    path.write_bytes(path.read_bytes()[:-100])


def empty(folder):
    (folder / STATE_FILE).write_bytes(b"")


def flip(name, place):
    def change(folder):
        data = bytearray((folder / name).read_bytes())
        data[place] ^= 1
        (folder / name).write_bytes(data)

    return change


def cut_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:40])


DAMAGES = {
    "truncated": truncate,
    "empty": empty,
    "header flipped": flip(STATE_FILE, 20),
    "tensor flipped": flip(STATE_FILE, -50),
    "no weights": lambda folder: (folder / STATE_FILE).unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "manifest cut": cut_manifest,
    "manifest without files": lambda folder: (folder / "manifest.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(make_task, stage, work, expected, caplog, damage):
    with pytest.raises(KeyboardInterrupt):
        run(make_task(Interrupted), stage, work)
    newest = work / "step-00000006"
    damage(newest)
    task = make_task(Counting)
    assert same(run(task, stage, work), expected)
    assert task.steps_run == STEPS - 3
    assert f"The checkpoint {newest} is damaged" in caplog.text


def test_a_manifest_that_says_another_step_changes_nothing(make_task, stage, work, expected):
    with pytest.raises(KeyboardInterrupt):
        run(make_task(Interrupted), stage, work)
    last_digit = (work / "step-00000006" / "manifest.json").read_bytes().index(b'"step": 6') + 8
    flip("manifest.json", last_digit)(work / "step-00000006")
    assert same(run(make_task(), stage, work), expected)


def test_with_every_checkpoint_damaged_training_begins_anew(make_task, stage, work, expected, caplog):
    with pytest.raises(KeyboardInterrupt):
        run(make_task(Interrupted), stage, work)
    for folder in work.iterdir():
        truncate(folder)
    task = make_task(Counting)
    assert same(run(task, stage, work), expected)
    assert task.steps_run == STEPS


@pytest.mark.parametrize(("kind", "what"), [(NanLoss, "loss"), (NanGradient, "gradient")])
def test_what_is_not_finite_stops_with_step_and_batch_and_keeps_the_last_state(
    make_task, stage, work, expected, kind, what
):
    task = make_task(kind)
    with pytest.raises(UnimrError, match=rf"The {what} became nan at step {BROKEN_STEP}.*the texts ") as error:
        run(task, stage, work)
    assert any(text in str(error.value) for text in task.corpus.texts)
    assert all(bool(value.isfinite().all()) for value in task.module.parameters())
    assert checkpoints(work) == ["step-00000003", "step-00000006"]
    assert same(run(make_task(), stage, work), expected)


def test_sigterm_saves_after_the_step_in_hand(make_task, stage, work, expected):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run(make_task(Terminated), stage, work)
    assert stopped.value.code == 143
    assert checkpoints(work)[-1] == f"step-{BROKEN_STEP + 1:08d}"
    assert signal.getsignal(signal.SIGTERM) is before
    task = make_task(Counting)
    assert same(run(task, stage, work), expected)
    assert task.steps_run == STEPS - BROKEN_STEP - 1


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_leaves_the_older_checkpoint(make_task, stage, work, expected, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    class DiskFills(Counting):
        def at_step(self, loss, report, samples):
            monkeypatch.setattr(os, call, full)
            return loss, report, samples

    with pytest.raises(UnimrError, match=r"No space is left on the disk while writing .*step-00000009"):
        run(make_task(DiskFills), stage, work)
    monkeypatch.undo()
    assert checkpoints(work) == ["step-00000003", "step-00000006"]
    assert same(run(make_task(), stage, work), expected)


def test_a_file_that_does_not_fit_on_the_disk_is_a_full_disk(make_task, stage, work, monkeypatch, tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")  # through a link, since writers that rename would replace the device itself
    monkeypatch.setattr("unimr.training.checkpoint.STATE_FILE", str(full))
    with pytest.raises(UnimrError, match="No space is left on the disk"):
        run(make_task(), stage, work)
    assert checkpoints(work) == []


def test_batches_drawn_ahead_are_the_same(make_task, stage):
    task = make_task()
    plain, ahead = (list(_batches(task, stage, 4, ahead)) for ahead in (False, True))
    assert len(plain) == len(ahead) == STEPS - 4
    assert [batch.texts.texts for batch in plain] == [batch.texts.texts for batch in ahead]
