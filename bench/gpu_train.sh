#!/bin/sh
# Train, checkpoint, export and measure within the time of one loan of a GPU; the next call goes on.
#   bench/gpu_train.sh CORPUS RUN MINUTES [DECAY_MINUTES] [more options of `tersely train`]
# DEVICE=cpu is a dry run. SIZE=--tiny, --quick (as it is) or --full is how much the quality bench asks; SIZE=none: it
# is not run. Where there is no network, TERSELY_HOME must hold the model and the held-out packages.
set -eu
corpus=$1 run=$2 minutes=$3 decay=${4:-0}
shift 3
[ $# -eq 0 ] || shift
PYTHON=${PYTHON:-python}
"$PYTHON" -m tersely train --corpus "$corpus" --out "$run" --minutes "$minutes" --decay "$decay" \
  --device "${DEVICE:-cuda}" --json "$@"
[ "${SIZE:=--quick}" = none ] || "$PYTHON" -m bench.quality "$SIZE" --no-base --name gpu-train \
  --adapter "$run/adapter.safetensors" >/dev/null
