"""What scripts/benchmark_training.py is made of."""
