"""The `siamese` program: each command parses, calls the library, and prints."""
