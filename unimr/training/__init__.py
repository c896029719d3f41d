"""Training: one loop, one task a stage, exact resume."""
