r"""A transformer that predicts the next character of a text: a class at every position.

    python examples/text_transformer.py text.pt
    prunelimit predict text.pt -m examples/text_transformer.py:network \
        -d examples/text_transformer.py:data --probes 1 --steps 20
    prunelimit prune text.pt -m examples/text_transformer.py:network \
        -d examples/text_transformer.py:data --amount 0.3 -o text.safetensors
    prunelimit measure text.pt -m examples/text_transformer.py:network \
        -d examples/text_transformer.py:data --sparsities 0.3,0.6

Inputs are codes (n, T) of an integer type and stay that. Targets are (n, T), outputs (n, T,
classes): the loss is cross-entropy, the mean over positions, and the metric the share of them that
is right. The text is that of Python's own documentation, which comes with Python.
"""

from __future__ import annotations

import sys
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn

LETTERS = " abcdefghijklmnopqrstuvwxyz.,"
CONTEXT, WIDTH = 24, 24


class Reader(nn.Module):
    """One layer of causal attention over the characters before."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), WIDTH)
        self.places = nn.Parameter(0.1 * torch.randn(CONTEXT, WIDTH))
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.inner = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.head = nn.Linear(WIDTH, len(LETTERS))
        hidden = torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).triu(1)
        self.register_buffer("hidden", hidden)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, T) to logits (n, T, classes)."""
        found = self.letters(codes) + self.places
        read = self.first(found)
        attended, _ = self.attention(read, read, read, attn_mask=self.hidden, need_weights=False)
        found = found + attended
        logits: Tensor = self.head(found + self.inner(self.second(found)))
        return logits


def network() -> nn.Module:
    """What -m names."""
    return Reader()


def windows(text: str) -> tuple[Tensor, Tensor]:
    """Codes (n, T), and the code that follows each."""
    codes = torch.tensor([LETTERS.index(each) for each in text])
    count = (len(codes) - 1) // CONTEXT
    every = codes[: count * CONTEXT + 1]
    return every[:-1].view(count, CONTEXT), every[1:].view(count, CONTEXT)


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Windows of a text for training, and of what follows it for test."""
    whole = " ".join(topics[name] for name in ("for", "while", "if", "try", "with", "function"))
    plain = "".join(each for each in " ".join(whole.lower().split()) if each in LETTERS)
    # A text of one length, whatever Python's version says.
    while len(plain) < 10_000:
        plain += plain
    return windows(plain[: 300 * CONTEXT + 1]), windows(plain[300 * CONTEXT : 10_000])


def main(path: str) -> None:
    """Train and save the state_dict."""
    torch.manual_seed(0)
    model = network()
    (inputs, targets), _ = data()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        for batch in torch.randperm(len(inputs)).split(50):
            logits = model(inputs[batch])
            found = nn.functional.cross_entropy(logits.flatten(0, 1), targets[batch].flatten())
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
    torch.save(model.state_dict(), path)
    print(f"Training loss {found:.4f}; the checkpoint is {path}.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "text.pt")
