"""The study: what one model, its NLU module and its stages are worth, at the same budget, against peers."""
