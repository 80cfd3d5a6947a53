"""Interrupted work: whole or not there, its owner's alone, thrown away only when told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from prunelimit.errors import InputError, OutputError, UsageError
from prunelimit.storage.resume import Resumable, claim_or_discard

OWNER: dict[str, Any] = {"seed": 3, "layers": (4, 5), "options": {"lr": 0.1, "epochs": 2}}


def test_what_is_saved_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "net.resume"
    assert Resumable(path, "training", OWNER).restored(dict) is None
    state = {"weights": torch.arange(3.0), "history": [{"loss": 0.5}], "none": None}
    Resumable(path, "training", OWNER).save(state)
    found = Resumable(path, "training", OWNER).restored(dict)
    assert found is not None and found["history"] == state["history"] and found["none"] is None
    assert torch.equal(found["weights"], state["weights"])
    assert [each.name for each in tmp_path.iterdir()] == ["net.resume"]
    Resumable(path, "training", OWNER).discard()
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 4}, "another seed (3, now 4)"),
        ({"layers": [4, 6]}, "another layers;"),
        ({"options": {"lr": 0.2, "epochs": 2}}, "another options;"),
        ({"epochs": 5}, "another epochs (None, now 5)"),
        ({"data": "digits"}, "another data (None, now digits)"),
        ({"checkpoint": "ab" * 32}, "another checkpoint;"),
    ],
)
def test_anothers_state_is_refused_with_what_differs(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "net.resume"
    Resumable(path, "training", OWNER).save({})
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        Resumable(path, "training", {**OWNER, **change}).restored(dict)
    assert told in str(caught.value) and path.read_bytes() == before


def test_another_versions_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.resume"
    Resumable(path, "training", OWNER).save({})
    monkeypatch.setattr("prunelimit.storage.resume.__version__", "99")
    with pytest.raises(UsageError, match="another version"):
        Resumable(path, "training", OWNER).restored(dict)


def test_what_is_no_state_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.resume"
    whole = Resumable(path, "pruning", OWNER)
    whole.save({"weights": torch.zeros(100)})
    for damaged in (b"", b"{}", path.read_bytes()[:200]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="state of a pruning"):
            whole.restored(dict)


@pytest.mark.parametrize("lacking", ["history", "model"])
def test_a_state_that_lacks_a_part_is_told(tmp_path: Path, lacking: str) -> None:
    path = tmp_path / "net.resume"
    whole = Resumable(path, "training", OWNER)
    whole.save({name: 1 for name in ("history", "model") if name != lacking})
    before = path.read_bytes()
    with pytest.raises(InputError, match="state of a training"):
        whole.restored(lambda state: (state["history"], state["model"]))
    assert path.read_bytes() == before


def test_nothing_in_it_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "net.resume"
    torch.save({"owner": "{}", "state": {"run": Path("x")}}, path)
    with pytest.raises(InputError, match="state of a pruning"):
        Resumable(path, "pruning", {}).restored(dict)


@pytest.mark.parametrize("folder", [False, True])
def test_the_user_says_what_becomes_of_it(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "p.resume"
    claim_or_discard(path, "run", resume=False, force=False, folder=folder)
    if folder:
        (path / "limit" / "part-0").mkdir(parents=True)
        (path / "run.json").write_text('{"version": "1"}')
        (path / "limit" / "part-0" / "state.safetensors").write_text("x")
    else:
        Resumable(path, "run", OWNER).save({"weights": torch.zeros(3)})
    with pytest.raises(OutputError, match="`resume` to go on with it or `force`"):
        claim_or_discard(path, "run", resume=False, force=False, folder=folder)
    for force in (False, True):
        claim_or_discard(path, "run", resume=True, force=force, folder=folder)
    assert path.exists()
    claim_or_discard(path, "run", resume=False, force=True, folder=folder)
    assert not path.exists()


def test_a_folder_that_is_no_state_is_not_emptied(tmp_path: Path) -> None:
    path = tmp_path / "c.resume"
    path.mkdir()
    with pytest.raises(OutputError, match="cannot be removed"):
        claim_or_discard(path, "comparison", resume=False, force=True)
    assert path.is_dir()


@pytest.mark.parametrize("content", [b"years of work", b"PK\x03\x04 or so", b"{}"])
def test_a_file_that_is_no_state_is_not_removed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.resume"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="not the state of a training"):
        claim_or_discard(path, "training", resume=False, force=True)
    assert path.read_bytes() == content


def test_a_checkpoint_of_others_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.resume"
    torch.save({"weight": torch.ones(3)}, path)
    with pytest.raises(OutputError, match="not the state of a training"):
        claim_or_discard(path, "training", resume=False, force=True)
    assert path.exists()


@pytest.mark.parametrize("size", [0, 150, 400])
def test_a_state_that_is_cut_off_is_removed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "c.resume"
    Resumable(path, "training", OWNER).save({"weights": torch.zeros(300)})
    path.write_bytes(path.read_bytes()[:size])
    claim_or_discard(path, "training", resume=False, force=True)
    assert not path.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.resume").symlink_to(tmp_path / "real")
    with pytest.raises(OutputError, match="not the state of a run"):
        claim_or_discard(tmp_path / "link.resume", "run", resume=False, force=True, folder=True)
    assert (tmp_path / "real").is_dir()


@pytest.mark.parametrize("owner", ["[]", "3", "null", "{", '"text"'])
def test_an_owner_that_is_no_object_is_told(tmp_path: Path, owner: str) -> None:
    path = tmp_path / "c.resume"
    torch.save({"owner": owner, "state": {}}, path)
    with pytest.raises(InputError, match="cannot be read as the state of a training"):
        Resumable(path, "training", OWNER).restored(dict)
