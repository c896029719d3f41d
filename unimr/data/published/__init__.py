"""Published data sets, read from their files as they are: a loader a format (see `docs/datasets.md`)."""
