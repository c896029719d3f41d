"""Watching what is live: whether it is whole, answers, and still is what the data and the model give."""
