"""Evaluation: metrics, baselines, the evaluate stage and its report."""
