"""Search engines: they turn source token ids into translation hypotheses."""
