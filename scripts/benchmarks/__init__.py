"""Building blocks of scripts/benchmark_training.py, scripts/benchmark_translate.py and scripts/measure_*.py."""
