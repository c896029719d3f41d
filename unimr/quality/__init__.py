"""Validation of the tables: expectations, quarantine and the page that shows both."""
