"""Quality of data: what the tables must satisfy, what is quarantined, and the report about it."""
