"""What the field offers for the same tasks, trained on the same tables; a module a peer, `train(params, tables)`."""
