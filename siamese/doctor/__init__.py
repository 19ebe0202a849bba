"""What this installation can do: its packages, its processors and folders, and short tests that really run."""
