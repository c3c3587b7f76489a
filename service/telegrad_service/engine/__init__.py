"""The numpy engine: tensors, graphs, kernels and derivatives. Imports numpy and ``telegrad.contract``, nothing else."""
