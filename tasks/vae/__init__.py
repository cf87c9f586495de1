"""Image generation: a variational autoencoder whose encoder is replaced by FPI_GD (thesis 6.3)."""
