"""Vision: convolutional networks that classify images."""
