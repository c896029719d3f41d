"""unimr: one model for multilingual text-to-image search, text-to-text search and query understanding."""

__version__ = "0.1.0"
