"""What scripts/benchmark_training.py and scripts/benchmark_translate.py are made of."""
