"""Text in, text out: lines, their pieces, what was found for them, files of any size."""
