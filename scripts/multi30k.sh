#!/usr/bin/env bash
# Train the four families on Multi30k, German to English, compare them on test_2016_flickr and renew docs/results/multi30k.*.
# usage: scripts/multi30k.sh FOLDER [key=value ...]      FOLDER has {train,val,test_2016_flickr}.{de,en}
set -euo pipefail
folder=$1
shift
systems="rnn_encdec rnnsearch luong transformer"
for system in $systems; do
    nmt-train "multi30k_$system" data.path="$folder" run_dir="runs/multi30k/$system" "$@"
done
nmt-compare $(for system in $systems; do echo "runs/multi30k/$system"; done) --test-set test_2016_flickr -o runs/multi30k/report
python scripts/multi30k_results.py runs/multi30k docs/results "$@"
