"""Callbacks and loggers against the packages that they are for, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from made import both, history
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import prunelimit as pl
from prunelimit.errors import UsageError
from prunelimit.integrations.record import Recorder, series_of, values_of

FEW: dict[str, Any] = {
    "samples": 50,
    "steps": 6,
    "probes": 1,
    "directional_steps": 5,
    "epsilon": 0.05,
}


def data(count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
    return inputs, (inputs[:, 0] > 0).long()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))


class Kept:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.told: dict[int, dict[str, float]] = {}

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.told[step] = dict(values)


def test_what_is_recorded_is_what_predict_says() -> None:
    model, kept = network(), Kept()
    recorder = Recorder((data(), data()), every=2, loggers=(kept,), options=FEW)
    assert [recorder.due(epoch) for epoch in (1, 2, 3, 4)] == [False, True, False, True]
    values = recorder.record(model, 2)
    alone = pl.predict(pl.Problem(model, data(), data()), **FEW)
    assert alone.one_shot is not None
    assert values["prunelimit/limit"] == alone.limit.sparsity
    assert values["prunelimit/plain"] == alone.one_shot.sparsity
    assert values["prunelimit/dense_accuracy"] == alone.dense.accuracy
    assert kept.told == {2: values} and list(recorder.results) == [2]


def test_training_is_not_disturbed() -> None:
    model = network()
    model[0].eval()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    with torch.no_grad():
        Recorder((data(), data()), options=FEW).record(model, 1)
    assert torch.equal(torch.rand(3), wanted)
    assert [model.training, model[0].training, model[2].training] == [True, False, True]
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_every_is_a_number_of_epochs() -> None:
    with pytest.raises(UsageError, match="`every`"):
        Recorder((data(), data()), every=0)


def fully_sharded(model: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    return fully_shard(model, mesh=init_device_mesh("cpu", (1,)))  # type: ignore[no-any-return]


def flattened(model: nn.Module) -> nn.Module:
    from torch.distributed.fsdp import FullyShardedDataParallel

    FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    return model


def of_deepspeed(model: nn.Module) -> nn.Module:
    """As its third stage leaves parameters: empty, with a number of its own."""
    for number, parameter in enumerate(model.parameters()):
        parameter.data, parameter.ds_id = torch.empty(0), number  # type: ignore[attr-defined]
    return model


@pytest.mark.parametrize("cut", [fully_sharded, flattened, of_deepspeed])
@pytest.mark.filterwarnings("ignore:FSDP is switching:UserWarning")
def test_parameters_that_no_process_has_whole_are_refused(cut: Any) -> None:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(UsageError, match="`history`"):
            Recorder((data(), data()), options=FEW).record(cut(network()), 1)
    finally:
        torch.distributed.destroy_process_group()


def test_series_are_by_epoch() -> None:
    found = history()
    series = series_of(found)
    assert list(series) == [point.epoch for point in found.points]
    assert [each["prunelimit/limit"] for each in series.values()] == [p.limit for p in found.points]
    assert series_of(both(), 7) == {7: values_of(both())}


def test_lightning_logs_every_second_epoch(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    from prunelimit.integrations.lightning import PrunabilityCallback

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.net(inputs)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.2)

    def trained(*callbacks: Any) -> tuple[Any, Any]:
        module = Module()
        trainer = lightning.Trainer(
            max_epochs=4, callbacks=list(callbacks), logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
            default_root_dir=tmp_path,
        )  # fmt: skip
        torch.manual_seed(3)
        trainer.fit(module, DataLoader(TensorDataset(*data()), batch_size=50))
        return trainer, module

    for name in (None, "net"):
        callback = PrunabilityCallback((data(), data()), every=2, network=name, **FEW)
        trainer, module = trained(callback)
        assert list(callback.results) == [2, 4]
        last = callback.results[4]
        assert trainer.callback_metrics["prunelimit/limit"] == pytest.approx(last.limit.sparsity)
        alone = pl.predict(pl.Problem(module.net, data(), data()), **FEW)
        assert alone.limit.sparsity == last.limit.sparsity
    _, other = trained()
    assert all(
        torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True)
    )


def test_the_trainer_of_transformers_has_it_in_its_history(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from prunelimit.integrations.transformers import PrunabilityCallback

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, inputs: torch.Tensor, labels: Any = None) -> dict[str, torch.Tensor]:
            logits = self.net(inputs)
            if labels is None:
                return {"logits": logits}
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    inputs, labels = data()
    rows = [{"inputs": x, "labels": y} for x, y in zip(inputs, labels, strict=True)]
    kept = Kept()
    callback = PrunabilityCallback((data(), data()), every=2, loggers=[kept], **FEW)
    model = Model()
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path), num_train_epochs=2, report_to=[], save_strategy="no",
            use_cpu=True, disable_tqdm=True, per_device_train_batch_size=50, logging_steps=1000,
        ),
        train_dataset=rows,
        callbacks=[callback],
    )  # fmt: skip
    trainer.train()
    (row,) = [each for each in trainer.state.log_history if "prunelimit/limit" in each]
    assert (row["epoch"], row["step"]) == (2, 12)
    assert row["prunelimit/limit"] == callback.results[2].limit.sparsity
    assert list(kept.told) == [2]
    alone = pl.predict(pl.Problem(model, data(), data()), **FEW)
    assert alone.limit.sparsity == row["prunelimit/limit"]


def test_tensorboard_reads_it_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from prunelimit.integrations.tensorboard import log

    log(history(), tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    read = {each.step: each.value for each in events.Scalars("prunelimit/limit")}
    assert read == pytest.approx({p.epoch: p.limit for p in history().points})


def test_mlflow_reads_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    for needed in ("sqlalchemy", "alembic"):  # where a run is kept
        pytest.importorskip(needed)
    from prunelimit.integrations.mlflow import log

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    try:
        mlflow.create_experiment("it", artifact_location=(tmp_path / "artifacts").as_uri())
        mlflow.set_experiment("it")
        with mlflow.start_run() as run:
            log(history())
        read = mlflow.MlflowClient().get_metric_history(run.info.run_id, "prunelimit/limit")
        assert {each.step: each.value for each in read} == pytest.approx(
            {p.epoch: p.limit for p in history().points}
        )
        assert list((tmp_path / "artifacts").rglob("history.json"))
    finally:
        mlflow.set_tracking_uri(None)


def test_wandb_has_it_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    from prunelimit.integrations.wandb import WandbLogger, log

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with pytest.raises(UsageError, match=r"wandb\.init"):
        WandbLogger()
    run = wandb.init(project="it", dir=str(tmp_path), mode="offline")
    try:
        log(history())
        last = history().points[-1]
        assert run.summary["prunelimit/limit"] == pytest.approx(last.limit)
        assert run.summary["prunelimit/step"] == last.epoch
    finally:
        run.finish()
    assert list(tmp_path.rglob("*.wandb"))
