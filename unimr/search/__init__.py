"""Search: from a query to results."""
