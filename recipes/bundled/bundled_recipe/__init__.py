"""The steps that make the verifier which ships with the package; `run.py` beside this folder runs them."""
