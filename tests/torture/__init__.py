"""Trials by fire: commands that are killed, starved, or given damaged and malicious files.

Each trial has its own seed, so that `python scripts/torture.py --trial KIND:SEED` repeats it alone. A trial passes if
the command gives the right answer, or one sentence that names the file; never a traceback, never another answer.
"""
