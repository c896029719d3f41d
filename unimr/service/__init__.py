"""The search service: HTTP, batching, limits, keys, the query log, live changes, and its page."""
