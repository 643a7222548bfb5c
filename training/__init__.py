"""Training: data, losses, the loop and its command line; imports the core, never the other way."""
