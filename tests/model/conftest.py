import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random weights in every test, whichever ran before."""
    torch.manual_seed(0)
