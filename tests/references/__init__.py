"""The independent reference for values and gradients: PyTorch where it is installed, its stored answers where it is not."""
