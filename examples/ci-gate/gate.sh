#!/usr/bin/env bash
# Predicts, measures, and fails unless the two agree. The checkpoint is given and stays as it is.
#
#     examples/ci-gate/gate.sh [CHECKPOINT] [FOLDER]
#
# The limit is about the loss with the survivors free to move. So they are trained to measure it, in
# pruned copies, until the loss is within the tolerance or the passes are spent. Fixed survivors
# would be no test here: the number predicted for them comes of the same samples.
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
prunelimit measure "$checkpoint" --survivors trained --force \
  -o "$folder/measure.json" --plot "$folder/measure.png"
prunelimit check "$folder/predict.json" "$folder/measure.json" --force \
  --tolerance 2pp -o "$folder/check.json" --junit "$folder/check.xml"
