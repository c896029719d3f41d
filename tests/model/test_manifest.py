from __future__ import annotations

import pytest

from unimr.errors import UnimrError
from unimr.files import read_json, write_json
from unimr.model.manifest import MANIFEST, model_version, verify_manifest, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "words.txt").write_text("cat")
    write_manifest(tmp_path, {"profile": "tiny"})
    return tmp_path


def test_every_file_is_listed_and_notes_are_kept(folder):
    manifest = verify_manifest(folder)
    assert sorted(manifest["files"]) == ["model.safetensors", "more/words.txt"]
    assert manifest["notes"] == {"profile": "tiny"}


def test_writing_again_gives_the_same_bytes(folder):
    before = (folder / MANIFEST).read_bytes()
    write_manifest(folder, {"profile": "tiny"})
    assert (folder / MANIFEST).read_bytes() == before


def test_a_changed_file_in_a_folder_below_is_found(folder):
    (folder / "more" / "words.txt").write_text("dog")
    with pytest.raises(UnimrError, match=r"more/words\.txt is damaged"):
        verify_manifest(folder)


def test_a_missing_file_is_named(folder):
    (folder / "more" / "words.txt").unlink()
    with pytest.raises(UnimrError, match=r"more/words\.txt is missing"):
        verify_manifest(folder)


def test_a_manifest_without_a_list_of_files_is_named(folder):
    manifest = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, {"filet": manifest["files"], "notes": {}})
    with pytest.raises(UnimrError, match=r"manifest\.json is damaged"):
        verify_manifest(folder)


def test_the_version_is_that_of_the_weights_alone(folder):
    before = model_version(folder)
    assert len(before) == 12
    (folder / "more" / "words.txt").write_text("dog")
    write_manifest(folder, {"profile": "other"})
    assert model_version(folder) == before
    (folder / "model.safetensors").write_bytes(b"other")
    write_manifest(folder, {"profile": "other"})
    assert model_version(folder) != before
