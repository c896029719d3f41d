"""Prefect flows over the pipeline: DVC decides what runs, Prefect shows it, schedules it and keeps the history."""
