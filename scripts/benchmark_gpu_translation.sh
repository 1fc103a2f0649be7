#!/usr/bin/env bash
# Translation speed of a trained run on one GPU, in bf16, with steps recorded as CUDA graphs and without, beside CTranslate2
# in float16 and float32 on the same card; meant to take under 8 minutes. Prints the tables and renews docs/results/translation_speed.*.
# usage: scripts/benchmark_gpu_translation.sh RUN_DIR SOURCE [option of benchmark_translate.py ...]
set -euo pipefail
run=$1 source=$2
shift 2
for graphs in true false; do
    reference=--reference
    [ $graphs = true ] || reference=
    python "$(dirname "$0")/benchmark_translate.py" "$run" --source "$source" --device cuda --precision bf16 --threads 1x1 \
        --beam-size 4 1 --search cuda_graphs=$graphs --search stop=full --search length_normalisation=power \
        --search tokens_per_batch=16384 --single 50 --name "$(basename "$run"), one GPU, cuda_graphs=$graphs" \
        $reference "$@"
done
