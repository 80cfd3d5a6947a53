"""Networks of timm and transformers by name: made without a download, loaded to the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Outcome
from PIL import Image
from test_cases_faults import refused
from torch import nn

import prunelimit as pl
from prunelimit.inputs.build import build_network, usual_moments

Run = Callable[..., Outcome]

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

FEW = (
    "--epsilon",
    "5%",
    "--samples",
    "16",
    "--steps",
    "4",
    "--probes",
    "1",
    "--directional-steps",
    "4",
)
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def images(folder: Path, classes: int = 3, side: int = 32) -> Path:
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(classes):
            place = folder / "images" / split / f"c{label}"
            place.mkdir(parents=True)
            for number in range(6):
                pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder / "images"


def tokens(folder: Path, classes: int = 3) -> str:
    x = np.random.default_rng(0).integers(3, 40, (40, 7))
    y = np.arange(40) % classes
    np.savez(folder / "tokens.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    return f"npz:{folder / 'tokens.npz'}"


def outputs_match(problem: pl.Problem, network: nn.Module) -> None:
    inputs, _ = next(iter(problem.problem.test.batches(8)))
    with torch.no_grad():
        theirs = network.eval()(inputs)
        ours = problem.problem.outputs(inputs)
    theirs = theirs if isinstance(theirs, torch.Tensor) else theirs.logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class TestTimm:
    timm: Any = None

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        self.timm = pytest.importorskip("timm")

    @pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
    def test_the_head_is_the_files_and_the_normalisation_its_own(
        self, tmp_path: Path, name: str
    ) -> None:
        torch.manual_seed(0)
        side = {"img_size": 32} if "vit" in name else {}
        network = self.timm.create_model(name, pretrained=False, num_classes=5, **side)
        torch.save({"state_dict": network.state_dict(), "arch": name}, tmp_path / "t.pth")
        problem = pl.Problem.from_checkpoint(
            tmp_path / "t.pth",
            model=f"timm:{name}",
            model_arg=tuple(f"{key}={value}" for key, value in side.items()),
            data=f"folder:{images(tmp_path)}",
        )
        outputs_match(problem, network)
        assert problem.problem.outputs(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
        moments = usual_moments(f"timm:{name}")
        given = self.timm.data.resolve_model_data_config(network)
        assert moments == (given["mean"], given["std"])
        assert (moments == pl_default()) == (name == "test_efficientnet")
        assert any("published" in each for each in problem.loaded.notices)
        inputs, _ = next(iter(problem.problem.test.batches(1)))
        first = sorted((tmp_path / "images" / "test" / "c0").iterdir())[0]
        pixels = np.asarray(Image.open(first)).transpose(2, 0, 1) / 255
        mean, std = (np.array(each)[:, None, None] for each in (given["mean"], given["std"]))
        np.testing.assert_allclose(inputs[0].numpy(), (pixels - mean) / std, atol=1e-5)

    def test_what_is_given_goes_before_its_own(self, tmp_path: Path) -> None:
        problem = pl.Problem.new(
            model="timm:test_resnet", data=f"folder:{images(tmp_path)}", mean="0.5", std="0.5"
        )
        assert not any("published" in each for each in problem.loaded.notices)

    def test_channels_are_those_of_the_data(self) -> None:
        network = build_network("timm:test_resnet", input_shape=(1, 32, 32), classes=4).eval()
        assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 4)

    @pytest.mark.slow
    def test_by_the_command_line(self, prunelimit: Run, tmp_path: Path) -> None:
        given = ("-m", "timm:test_resnet", "-d", f"folder:{images(tmp_path)}")
        assert prunelimit("train", *given, "--epochs", "1", "-q", "-o", "t.safetensors").code == 0
        done = prunelimit("predict", "t.safetensors", *FEW, "--json", "-q")
        assert done.code == 0, done.stderr
        assert done.document["model"]["spec"] == "timm:test_resnet"
        refused(prunelimit("train", "-m", "timm:test_resnt", *given[2:]), "did you mean", code=2)
        found = prunelimit("train", *given, "--model-arg", "no_such=1")
        refused(found, "timm:test_resnet cannot be made", "--model-arg", code=2)


def pl_default() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the images of a folder are normalised with otherwise."""
    return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TestTransformers:
    transformers: Any = None

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        self.transformers = pytest.importorskip("transformers")

    def bert(self, labels: int = 3) -> Any:
        torch.manual_seed(0)
        config = self.transformers.BertConfig(
            **TINY, vocab_size=40, intermediate_size=32, max_position_embeddings=16,
            num_labels=labels,
        )  # fmt: skip
        return self.transformers.BertForSequenceClassification(config)

    def gpt2(self) -> Any:
        torch.manual_seed(0)
        config = self.transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=16, vocab_size=40, num_labels=3,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        return self.transformers.GPT2ForSequenceClassification(config)

    def vit(self) -> Any:
        torch.manual_seed(0)
        config = self.transformers.ViTConfig(
            **TINY, intermediate_size=32, image_size=32, patch_size=8, num_labels=3
        )
        return self.transformers.ViTForImageClassification(config)

    @pytest.mark.parametrize("kind", ["bert", "gpt2"])
    @pytest.mark.parametrize("parts", [False, True])
    def test_a_folder_is_network_and_weights(self, tmp_path: Path, kind: str, parts: bool) -> None:
        network = getattr(self, kind)()
        size = "20KB" if parts else "5GB"
        network.save_pretrained(tmp_path / "folder", max_shard_size=size)
        assert (tmp_path / "folder" / "model.safetensors.index.json").exists() == parts
        problem = pl.Problem.from_checkpoint(
            tmp_path / "folder", model=f"hf:{tmp_path / 'folder'}", data=tokens(tmp_path)
        )
        outputs_match(problem, network)
        assert problem.loaded.model_info.prunable > 0

    def test_images_with_the_folders_own_normalisation(self, tmp_path: Path) -> None:
        network = self.vit()
        network.save_pretrained(tmp_path / "folder")
        own = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
        (tmp_path / "folder" / "preprocessor_config.json").write_text(json.dumps(own))
        spec = f"hf:{tmp_path / 'folder'}"
        assert usual_moments(spec) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        problem = pl.Problem.from_checkpoint(
            tmp_path / "folder", model=spec, data=f"folder:{images(tmp_path)}"
        )
        outputs_match(problem, network)
        assert any("published" in each for each in problem.loaded.notices)

    def test_a_body_gets_a_head_for_the_data(self, tmp_path: Path) -> None:
        self.bert().bert.save_pretrained(tmp_path / "folder")
        network = build_network(f"hf:{tmp_path / 'folder'}", input_shape=(7,), classes=4).eval()
        assert network(torch.ones(2, 7, dtype=torch.int64)).logits.shape == (2, 4)

    def test_by_the_command_line(self, prunelimit: Run, tmp_path: Path) -> None:
        self.bert().save_pretrained("folder")
        given = ("-m", "hf:folder", "-d", tokens(tmp_path))
        done = prunelimit("predict", "folder", *given, *FEW, "--json", "-q")
        assert done.code == 0, done.stderr
        assert prunelimit("prune", "folder", *given, "--amount", "0.5", "-q", "-o",
                          "p.safetensors").code == 0  # fmt: skip
        # The folder stands where the file says, and is only read.
        done = prunelimit(
            "measure", "p.safetensors", "--sparsities", "0", "--epsilon", "5%", "--json", "-q"
        )
        assert done.code == 0, done.stderr
        Path("folder").rename("other")
        found = prunelimit("measure", "p.safetensors", "--sparsities", "0")
        refused(found, "-m hf:folder", code=2)

    def test_code_of_a_folder_is_not_run(self, prunelimit: Run, tmp_path: Path) -> None:
        self.bert().save_pretrained("folder")
        config = json.loads(Path("folder/config.json").read_text())
        config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}}
        Path("folder/config.json").write_text(json.dumps(config))
        Path("folder/evil.py").write_text("open('run', 'w')\n")
        found = prunelimit("predict", "folder", "-m", "hf:folder", "-d", tokens(tmp_path))
        refused(found, "hf:folder cannot be made")
        assert not Path("run").exists()

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"model_type": "bert", "hidden_size": "x"}'])
    def test_a_folder_that_is_none(self, prunelimit: Run, tmp_path: Path, text: str) -> None:
        Path("folder").mkdir()
        Path("folder/config.json").write_text(text)
        found = prunelimit("train", "-m", "hf:folder", "-d", tokens(tmp_path))
        refused(found, "hf:folder cannot be made")


@pytest.mark.parametrize(("package", "spec"), [("timm", "timm:resnet18"), ("hf", "hf:folder")])
def test_what_is_missing_is_named(
    prunelimit: Run, monkeypatch: pytest.MonkeyPatch, package: str, spec: str
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    hidden = ("timm", "transformers")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in hidden else real(name)
    )
    found = prunelimit("train", "-m", spec, "-d", "digits")
    refused(found, f"pip install 'prunelimit[{package}]' brings it", code=2)
