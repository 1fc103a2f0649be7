"""Figures drawn from numbers and labels; they know nothing of models, runs or reports."""
