#!/usr/bin/env bash
# Training speed of the Transformer's base and big models on one GPU, in bf16, beside torch.nn.Transformer and, where it is
# installed, transformers; in under 8 minutes. Prints the tables and renews docs/results/training_speed.*.
# usage: scripts/benchmark_gpu.sh FOLDER [key=value ...]      FOLDER has {train,val}.{de,en}
set -euo pipefail
folder=$1
shift
for size in base big; do
    python "$(dirname "$0")/benchmark_training.py" benchmark_transformer data.path="$folder" model="transformer_$size" \
        training.device=cuda training.precision=bf16 training.tokens_per_update=25000 "$@" \
        --reference --seconds 4 --windows 3 --name "transformer_$size, one GPU"
done
