"""Makes a plain Python script durable."""
