"""`python -m siamese_cli`."""

from siamese_cli.main import main

main()
