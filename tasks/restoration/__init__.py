"""Image restoration: propagation and optimality modules (PODM), their relaxed form, and the same as one FPI layer."""
