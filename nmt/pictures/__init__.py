"""Draw figures from numbers and labels, independent of models, runs and reports."""
