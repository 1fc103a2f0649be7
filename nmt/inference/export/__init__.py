"""Export of a trained run to the format of another program, which can also search faster."""
