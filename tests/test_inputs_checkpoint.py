"""Checkpoints: read whatever others write, run none of it, write what reads back exactly."""

from __future__ import annotations

import dataclasses
import os
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prunelimit.config import DataConfig, ModelConfig, RunConfig
from prunelimit.errors import InputError, NumericalError, OutputError, UsageError
from prunelimit.inputs.checkpoint import read_checkpoint, write_checkpoint
from prunelimit.inputs.description import DATA_FIELDS, MODEL_FIELDS
from prunelimit.inputs.load import load, new, problem_from_module
from prunelimit.inputs.pickles import wanted_globals

STATE = {
    "layers.0.weight": torch.tensor([[0.0, -0.0, 1.0], [2.0, 0.0, -3.0]]),
    "layers.0.bias": torch.ones(2),
}
DESCRIPTION = {"model": {"model": "lenet-300-100"}, "data": {"data": "digits"}}


class Payload:
    """Unpickling this would make a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Equal bit for bit, negative zeros included."""
    return left.keys() == right.keys() and all(
        torch.equal(left[k], right[k]) and torch.equal(left[k].signbit(), right[k].signbit())
        for k in left
    )


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("holder", [None, "state_dict", "model", "module", "own"])
def test_state_dicts_are_found_wherever_they_lie(
    tmp_path: Path, prefix: str, holder: str | None
) -> None:
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    path = tmp_path / "file.pt"
    torch.save(state if holder is None else {"epoch": 3, holder: state}, path)
    read = read_checkpoint(path)
    assert same(read.tensors, STATE)
    assert read.description is None and len(read.sha256) == 64


def test_of_several_state_dicts_none_is_guessed(tmp_path: Path) -> None:
    torch.save({"student": STATE, "teacher": STATE}, tmp_path / "two.pt")
    assert [state.key for state in read_checkpoint(tmp_path / "two.pt").states] == [
        "student",
        "teacher",
    ]


def test_sparse_tensors_of_others_are_the_weights_they_stand_for(tmp_path: Path) -> None:
    weight = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    torch.save({"weight": weight.to_sparse()}, tmp_path / "sparse.pt")
    assert torch.equal(read_checkpoint(tmp_path / "sparse.pt").tensors["weight"], weight)


def test_a_prefix_of_only_some_keys_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert set(read_checkpoint(path).tensors) == {"module.a", "b"}


@pytest.mark.parametrize("sparse", [(), ("layers.0.weight",)])
def test_what_is_written_reads_back_exactly(tmp_path: Path, sparse: tuple[str, ...]) -> None:
    path = tmp_path / "ours.safetensors"
    artifact = write_checkpoint(path, STATE, DESCRIPTION, sparse=sparse)
    read = read_checkpoint(path)
    assert same(read.tensors, STATE)
    assert read.description is not None
    assert {k: read.description[k] for k in DESCRIPTION} == DESCRIPTION
    assert artifact.bytes == path.stat().st_size
    with pytest.raises(OutputError, match="`force`"):
        write_checkpoint(path, STATE, DESCRIPTION)


def test_sparse_storage_is_smaller_and_the_dense_size_is_stated(tmp_path: Path) -> None:
    weight = torch.zeros(400, 50)
    weight[::20] = 1.5
    state = {"weight": weight}
    dense = write_checkpoint(tmp_path / "dense.safetensors", state, {})
    sparse = write_checkpoint(tmp_path / "sparse.safetensors", state, {}, sparse=("weight",))
    assert same(read_checkpoint(tmp_path / "sparse.safetensors").tensors, state)
    assert sparse.bytes < 0.12 * sparse.bytes_dense
    assert abs(sparse.bytes_dense - dense.bytes) < 200


def test_pickle_that_wants_code_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made-by-the-pickle"
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": STATE, "extra": Payload(str(made))}, path)
    with pytest.raises(InputError, match=r"wants to run code .*mkdir.*`trust_pickle`"):
        read_checkpoint(path)
    assert not made.exists()
    assert same(read_checkpoint(path, trust_pickle=True).tensors, STATE)
    assert made.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_every_blocked_name_is_told(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "run.pt"
    content = {"state_dict": STATE, "options": Namespace(lr=0.1), "extra": Payload(str(tmp_path))}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"\(argparse\.Namespace, \w+\.mkdir\)"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(content["extra"]))
    with pytest.raises(InputError, match=r"\(\w+\.mkdir\)"):
        read_checkpoint(path)
    assert wanted_globals(path) != []
    torch.save({"state_dict": STATE}, path, _use_new_zipfile_serialization=zipped)
    assert wanted_globals(path) == []


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello world, this is text")
    (tmp_path / "zeros.pt").write_bytes(bytes(100))
    (tmp_path / "plain.pt").write_bytes(pickle.dumps([1, 2]))
    for name in ("text.pt", "zeros.pt", "plain.pt"):
        with pytest.raises(InputError, match="damaged or not a checkpoint"):
            read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 100, -20])
def test_truncated_files_are_told(tmp_path: Path, suffix: str, keep: int) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save(STATE, whole)
    else:
        write_checkpoint(whole, STATE, DESCRIPTION)
    path = tmp_path / f"part{suffix}"
    path.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(InputError, match="part") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_files_without_a_state_dict_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        read_checkpoint(tmp_path / "missing.pt")
    with pytest.raises(InputError, match="folder"):
        read_checkpoint(tmp_path)
    torch.save({"epoch": 3, "best": 0.9}, tmp_path / "no.pt")
    with pytest.raises(InputError, match=r"holds no state_dict \(it holds epoch, best\)"):
        read_checkpoint(tmp_path / "no.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="holds a list"):
        read_checkpoint(tmp_path / "list.pt")


def trained(tmp_path: Path, **changes: torch.Tensor) -> Path:
    """A fresh network's checkpoint, described."""
    loaded = new(ModelConfig(model="lenet-300-100"), DataConfig(data="digits"), RunConfig(seed=4))
    path = tmp_path / "net.safetensors"
    state = {**loaded.problem.model.state_dict(), **changes}
    write_checkpoint(path, state, loaded.description)
    return path


def test_described_checkpoint_needs_no_other_option(tmp_path: Path) -> None:
    path = trained(tmp_path)
    loaded = load(path, ModelConfig(), DataConfig(), RunConfig())
    assert loaded.model_info.spec == "lenet-300-100"
    assert loaded.data_info.spec == "digits"
    assert loaded.model_info.prunable == 64 * 300 + 300 * 100 + 100 * 10
    assert loaded.model_info.free == loaded.model_info.parameters
    assert same(dict(loaded.problem.model.state_dict()), read_checkpoint(path).tensors)
    assert not loaded.problem.model.training


def test_given_options_win_and_misfits_name_the_first_keys(tmp_path: Path) -> None:
    path = trained(tmp_path)
    with pytest.raises(InputError, match=r"layers\.4\.weight.*not in the file"):
        load(path, ModelConfig(model="fc5"), DataConfig(), RunConfig())
    with pytest.raises(InputError, match=r"conv1\.weight.*not in the file.*layers\.0\.weight"):
        load(path, ModelConfig(model="lenet5"), DataConfig(), RunConfig())


def test_wrong_shape_is_named(tmp_path: Path) -> None:
    path = trained(tmp_path, **{"layers.2.bias": torch.zeros(11)})
    with pytest.raises(InputError, match=r"layers\.2\.bias has shape \(11,\) in the file, \(10,\)"):
        load(path, ModelConfig(), DataConfig(), RunConfig())


def test_nan_weights_are_named(tmp_path: Path) -> None:
    path = trained(tmp_path, **{"layers.1.bias": torch.full((100,), float("nan"))})
    with pytest.raises(NumericalError, match=r"layers\.1\.bias holds a NaN"):
        load(path, ModelConfig(), DataConfig(), RunConfig())


def rewritten(path: Path, **parts: Any) -> Path:
    """The checkpoint with parts of its description replaced."""
    read = read_checkpoint(path)
    assert read.description is not None
    other = path.with_name("rewritten.safetensors")
    write_checkpoint(other, read.tensors, {**read.description, **parts}, force=True)
    return other


def test_descriptions_cannot_make_the_reader_run_code(tmp_path: Path) -> None:
    path, made = trained(tmp_path), tmp_path / "made"
    code = {"model": "os:mkdir", "model_arg": [f"path={made}"]}
    with pytest.raises(
        UsageError,
        match="names code that is not prunelimit's as its network; give `model` os:mkdir",
    ):
        load(rewritten(path, model=code), ModelConfig(), DataConfig(), RunConfig())
    with pytest.raises(
        UsageError, match="names code that is not prunelimit's as its data; give `data` os:getcwd"
    ):
        load(rewritten(path, data={"data": "os:getcwd"}), ModelConfig(), DataConfig(), RunConfig())
    with pytest.raises(InputError, match="gives a"):
        load(rewritten(path, model=code), ModelConfig(trust_pickle=True), DataConfig(), RunConfig())
    assert made.exists()  # so the first refusal was what kept it from being made


def test_no_option_can_be_given_that_reads_as_not_given() -> None:
    """What a file describes stands in for a default: no command line may be able to name one."""
    for kind, names in ((ModelConfig, MODEL_FIELDS), (DataConfig, DATA_FIELDS)):
        for field in dataclasses.fields(kind):
            assert field.name not in names or field.default in (None, ())


def test_what_is_given_wins_over_the_description_even_where_it_is_the_usual(
    tmp_path: Path,
) -> None:
    path = rewritten(trained(tmp_path), data={"data": "digits", "train_samples": 700})
    assert len(load(path, ModelConfig(), DataConfig(), RunConfig()).problem.train) == 700
    for given, expected in ((0, 1437), (900, 900)):
        data = DataConfig(train_samples=given)
        assert len(load(path, ModelConfig(), data, RunConfig()).problem.train) == expected


@pytest.mark.parametrize(
    "parts",
    [
        {"model": []},
        {"model": {"model": 3}},
        {"model": {"model": "lenet5", "model_arg": [1]}},
        {"data": {"data": "digits", "mean": 0.5}},
    ],
)
def test_broken_descriptions_are_told(tmp_path: Path, parts: dict[str, Any]) -> None:
    path = rewritten(trained(tmp_path), **parts)
    with pytest.raises(InputError, match="write the file again"):
        load(path, ModelConfig(), DataConfig(), RunConfig())


def test_labels_out_of_the_networks_range_are_told(tmp_path: Path) -> None:
    path = trained(tmp_path)
    x, y = np.zeros((24, 1, 8, 8), np.float32), np.arange(24) % 12
    np.savez(tmp_path / "twelve.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    np.savez(tmp_path / "three.npz", x_train=x, y_train=y % 3, x_test=x, y_test=y % 3)
    twelve, three = (DataConfig(data=f"npz:{tmp_path}/{name}.npz") for name in ("twelve", "three"))
    with pytest.raises(InputError, match=r"label 11 .*out of range.*10 classes"):
        load(path, ModelConfig(), twelve, RunConfig())
    assert load(path, ModelConfig(), three, RunConfig()).problem.model.layers[-1].out_features == 10
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    data = (torch.from_numpy(x), torch.from_numpy(y))
    with pytest.raises(InputError, match="label 11 is out of range"):
        problem_from_module(network, data, data)


@pytest.mark.parametrize("prefix", ["model.", "net.", "model._orig_mod.", "_orig_mod.model."])
@pytest.mark.parametrize("beside", [(), ("criterion.weight", "metric.total")])
def test_a_training_harness_holds_the_network_under_a_name(
    tmp_path: Path, prefix: str, beside: tuple[str, ...]
) -> None:
    loaded = load(trained(tmp_path), ModelConfig(), DataConfig(), RunConfig())
    state = {f"{prefix}{k}": v for k, v in loaded.problem.model.state_dict().items()}
    others = {name: torch.ones(3) for name in beside}
    content = {"state_dict": {**state, **others}, "pytorch-lightning_version": "2.4", "epoch": 1}
    if beside and prefix.startswith("_orig_mod."):
        content["state_dict"] = {**state, **{f"_orig_mod.{k}": v for k, v in others.items()}}
    torch.save(content, tmp_path / "run.ckpt")
    named = ModelConfig(model="lenet-300-100"), DataConfig(data="digits"), RunConfig()
    again = load(tmp_path / "run.ckpt", *named)
    assert torch.equal(again.problem.vector(), loaded.problem.vector())
    del content["state_dict"][f"{prefix}layers.1.bias"]
    torch.save(content, tmp_path / "part.ckpt")
    with pytest.raises(InputError, match="does not fit lenet-300-100"):
        load(tmp_path / "part.ckpt", *named)


def test_excluded_modules_are_counted_and_held_even_when_tied(tmp_path: Path) -> None:
    path = trained(tmp_path)
    info = load(path, ModelConfig(exclude=(r"layers\.2",)), DataConfig(), RunConfig()).model_info
    assert (info.excluded, info.free) == (1010, info.parameters - 1010)
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    both = (torch.randn(10, 4, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 4)
    problem = problem_from_module(network, both, both, exclude=("2",))
    assert problem.layout.names == ("0.bias", "3.weight", "3.bias")
    with pytest.raises(UsageError, match="No weight is left to prune"):
        problem_from_module(network, both, both, exclude=("",))


def test_foreign_checkpoint_needs_names(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "plain.pt")
    with pytest.raises(UsageError, match="give `model`"):
        load(tmp_path / "plain.pt", ModelConfig(), DataConfig(), RunConfig())
    with pytest.raises(UsageError, match="give `data`"):
        load(tmp_path / "plain.pt", ModelConfig(model="lenet5"), DataConfig(), RunConfig())


def test_fresh_networks_follow_the_seed_and_leave_the_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    both = [
        new(ModelConfig(model="lenet-300-100"), DataConfig(data="digits"), RunConfig(seed=s))
        for s in (0, 0, 1)
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    first, again, other = (loaded.problem.vector() for loaded in both)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_live_module_is_copied_and_tied_weights_count_once() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    network.train()
    both = (torch.randn(10, 4, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 4)
    problem = problem_from_module(network, both, both)
    assert problem.layout.names == ("0.weight", "0.bias", "2.bias")
    assert problem.prunable == ("0.weight",)
    assert network.training and problem.model is not network
    with pytest.raises(UsageError, match="matches no module"):
        problem_from_module(network, both, both, exclude=("head",))
    with pytest.raises(UsageError, match="regular expression"):
        problem_from_module(network, both, both, exclude=("(",))
    with pytest.raises(UsageError, match="device"):
        problem_from_module(network, both, both, device="abacus")
