"""Public functions as in ``torch``, ``torch.nn.functional`` and ``torch.linalg``, made of ops; they know tensors alone."""
