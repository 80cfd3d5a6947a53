"""Callbacks in two processes: the first records, the other waits, and training is what it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SETTING = """
import json, os, sys
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))

def data():
    inputs = torch.randn(240, 6, generator=torch.Generator().manual_seed(1))
    return inputs, inputs[:, :3].argmax(1)

FEW = {"epsilon": "20%", "samples": 100, "steps": 6, "probes": 1, "directional_steps": 5}
folder = sys.argv[1]

def tell(rank, callback, model):
    found = {
        "epochs": {epoch: each.limit.sparsity for epoch, each in callback.results.items()},
        "sum": float(sum(p.detach().double().abs().sum() for p in model.parameters())),
    }
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(found, file)
"""

LIGHTNING = """
import lightning
from torch.utils.data import DataLoader, TensorDataset
from prunelimit.integrations.lightning import PrunabilityCallback

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.2)

callback = PrunabilityCallback((data(), data()), every=2, **FEW)
module = Module()
trainer = lightning.Trainer(
    max_epochs=4, callbacks=[callback], logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", devices=2,
    strategy="ddp", default_root_dir=folder,
)
trainer.fit(module, DataLoader(TensorDataset(*data()), batch_size=40))
tell(trainer.global_rank, callback, module)
"""

TRANSFORMERS = """
import transformers
from prunelimit.integrations.transformers import PrunabilityCallback

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, inputs, labels=None):
        logits = self.net(inputs)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"logits": logits} if loss is None else {"loss": loss, "logits": logits}

callback = PrunabilityCallback((data(), data()), every=2, **FEW)
trainer = transformers.Trainer(
    model=Model(), callbacks=[callback],
    train_dataset=[{"inputs": x, "labels": y} for x, y in zip(*data())],
    args=transformers.TrainingArguments(
        output_dir=folder, num_train_epochs=4, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True, per_device_train_batch_size=20,
    ),
)
trainer.train()
tell(trainer.args.process_index, callback, trainer.model)
"""

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def run(folder: Path, body: str, *launcher: str) -> dict[int, dict[str, Any]]:
    """What both processes say; ``launcher`` is a module of python's that starts them."""
    script = folder / "script.py"
    script.write_text(SETTING + body)
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(folder)],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {rank: json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)}


@pytest.mark.parametrize("package", ["lightning", "transformers"])
def test_the_first_process_records_alone(package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    if package == "transformers":
        pytest.importorskip("accelerate")
        told = run(tmp_path, TRANSFORMERS, *TORCHRUN)
    else:
        told = run(tmp_path, LIGHTNING)
    assert list(told[0]["epochs"]) == ["2", "4"] and not told[1]["epochs"]
    assert all(0 < limit <= 1 for limit in told[0]["epochs"].values())
    assert told[0]["sum"] == told[1]["sum"]  # the processes have stayed together
