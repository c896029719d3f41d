"""Data: the four tables, the sources they come from, and how text is normalised."""
