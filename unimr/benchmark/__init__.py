"""Measuring a model on published data sets: a table per task and language that can stand beside published ones."""
