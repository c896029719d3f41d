"""The unified model: text encoder, NLU module, image encoder and the retriever that joins them."""
