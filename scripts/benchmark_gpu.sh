#!/usr/bin/env bash
# First whether the GPU computes what the CPU does (check_device.py), in under 3 minutes; no card that fails is measured.
# Then training speed of the Transformer's base and big models on it, in bf16, beside torch.nn.Transformer and, where it is
# installed, transformers; in under 8 minutes. Prints the tables and renews docs/results/training_speed.*.
# usage: scripts/benchmark_gpu.sh FOLDER [key=value ...]      FOLDER has {train,val}.{de,en}
set -euo pipefail
folder=$1
shift
python "$(dirname "$0")/check_device.py" cuda
for size in base big; do
    python "$(dirname "$0")/benchmark_training.py" benchmark_transformer data.path="$folder" model="transformer_$size" \
        training.device=cuda training.precision=bf16 training.tokens_per_update=25000 "$@" \
        --reference --seconds 4 --windows 3 --name "transformer_$size, one GPU"
done
