"""Prediction on a live module is prediction on its checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from prunelimit.commands.predict import predict, predict_problem
from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.inputs.load import load, problem_from_module

CURVATURE = CurvatureConfig(steps=12, samples=0)
LIMIT = LimitConfig(directional_steps=8)


def test_a_live_module_gets_the_prediction_of_its_checkpoint(trained: Path) -> None:
    of_file = predict(trained, ModelConfig(), DataConfig(), RunConfig(seed=3), CURVATURE, LIMIT)
    inner = load(trained, ModelConfig(), DataConfig(), RunConfig()).problem
    live = problem_from_module(inner.model, inner.train, inner.test, seed=3)
    of_module = predict_problem(live, CURVATURE, LIMIT, name="mine")
    assert of_module.model == dataclasses.replace(of_file.model, spec="mine", sha256=None)
    for part in ("dense", "epsilon", "limit", "variants", "reliability", "layers", "curve"):
        assert getattr(of_module, part) == getattr(of_file, part)
    assert of_module.provenance.seed == 3
