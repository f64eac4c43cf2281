"""Values to bytes and back, lossless or refused."""
