"""Run directories: finding and reading the configuration, tokenizer, checkpoints and weights of a run."""
