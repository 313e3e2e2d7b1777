"""Training an AFD-Module: configuration, data, degradation, losses, validation."""
