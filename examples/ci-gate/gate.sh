#!/usr/bin/env bash
# Predicts, measures, and fails unless the two agree. Nothing is trained: the checkpoint is given.
#
#     examples/ci-gate/gate.sh [CHECKPOINT] [FOLDER]
#
# --rule accuracy is an explicit choice: it holds the accuracy that one-shot pruning keeps to the
# predicted limit. That suits a network trained with l1 this strongly; the limit itself is about the
# loss with the survivors free to move. Without it like is compared with like: the one-shot loss
# with the predicted one-shot threshold, which comes of the same samples, or refit with the limit.
#
# Leaves predict.json, measure.json, check.json, both plots and JUnit XML in FOLDER. Exit code 1:
# they differ by more than the tolerance; 4: the estimate itself is not reliable.
set -euo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
checkpoint=${1:-$here/lenet.safetensors}
folder=${2:-gate}
mkdir -p "$folder"

prunelimit predict "$checkpoint" --samples 0 --strict --force \
  -o "$folder/predict.json" --plot "$folder/limit.png"
prunelimit measure "$checkpoint" --method one-shot --tolerance 0.5pp --force \
  -o "$folder/measure.json" --plot "$folder/measure.png"
prunelimit check "$folder/predict.json" "$folder/measure.json" --force \
  --rule accuracy --tolerance 2pp -o "$folder/check.json" --junit "$folder/check.xml"
