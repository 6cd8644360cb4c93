"""What requests of the API may say: parameters, bodies, forms."""
