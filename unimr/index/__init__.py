"""The search index: building, verifying, publishing and rolling back."""
