r"""Bags of instances: one label for many images, of which each bag has another number.

    python examples/multiple_instances.py bags.pt
    prunelimit predict bags.pt -m examples/multiple_instances.py:network \
        -d examples/multiple_instances.py:data --probes 1 --steps 20
    prunelimit prune bags.pt -m examples/multiple_instances.py:network \
        -d examples/multiple_instances.py:data --amount 0.3 -o bags.safetensors
    prunelimit measure bags.pt -m examples/multiple_instances.py:network \
        -d examples/multiple_instances.py:data --sparsities 0.3,0.6

A bag holds groups of handwritten digits. Its label says whether some digit is a nine. A small
transformer reads the digits of a group, pools them by attention to one vector, reads the groups of
the bag, and pools those.

The DataLoader pads the bags of a batch to one size and adds a mask; its dict comes to the network
as arguments of these names. A mask must hide what is padded: prunelimit compares a bag alone with
the same bag among others.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader

WIDTH, POSITIVE = 16, 9

Bag = tuple[list[Tensor], int]
"""Groups, each of some digits (k, 64), and the label."""


class Level(nn.Module):
    r"""A transformer's layer over the members of a set, and attention that pools them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.inner = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.score = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))

    def forward(self, members: Tensor, mask: Tensor) -> Tensor:
        """Sets (n, k, width) to vectors (n, width); members where ``mask`` (n, k) is False do not
        count. A set without members gives some vector, which the next level hides."""
        hidden = ~mask & mask.any(1, keepdim=True)
        read = self.first(members)
        attended, _ = self.attention(read, read, read, key_padding_mask=hidden, need_weights=False)
        members = members + attended
        members = members + self.inner(self.second(members))
        scores = self.score(members)[..., 0].masked_fill(hidden, -1e9)
        pooled: Tensor = (scores.softmax(1)[..., None] * members).sum(1)
        return pooled


class Reader(nn.Module):
    """Instances to groups to the bag."""

    def __init__(self) -> None:
        super().__init__()
        self.instance = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU())
        self.group, self.bag = Level(), Level()
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, instances: Tensor, mask: Tensor) -> Tensor:
        """Instances (n, groups, k, 64) and their mask (n, groups, k) to logits (n, 2)."""
        read = self.instance(instances)
        groups = self.group(read.flatten(0, 1), mask.flatten(0, 1)).unflatten(0, mask.shape[:2])
        logits: Tensor = self.head(self.bag(groups, mask.any(2)))
        return logits


def network() -> nn.Module:
    """What -m names."""
    return Reader()


def padded(bags: list[Bag]) -> tuple[dict[str, Tensor], Tensor]:
    """A batch: instances of all bags in one tensor, and where they are."""
    groups = max(len(bag) for bag, _ in bags)
    size = max(len(group) for bag, _ in bags for group in bag)
    instances = torch.zeros(len(bags), groups, size, 64)
    mask = torch.zeros(len(bags), groups, size, dtype=torch.bool)
    for place, (bag, _) in enumerate(bags):
        for row, group in enumerate(bag):
            instances[place, row, : len(group)] = group
            mask[place, row, : len(group)] = True
    return {"instances": instances, "mask": mask}, torch.tensor([label for _, label in bags])


def bags(count: int, seed: int) -> list[Bag]:
    """Every other bag has a nine in it."""
    images, labels = (torch.tensor(each) for each in load_digits(return_X_y=True))
    nines, others = (images[labels == POSITIVE] / 16, images[labels != POSITIVE] / 16)
    generator = torch.Generator().manual_seed(seed)

    def some(most: int) -> int:
        return int(torch.randint(0, most, (), generator=generator))

    found = []
    for place in range(count):
        bag = []
        for _ in range(1 + some(3)):
            chosen = torch.randint(0, len(others), (2 + some(3),), generator=generator)
            bag.append(others[chosen].float())
        if place % 2:
            group = bag[some(len(bag))]
            group[some(len(group))] = nines[some(len(nines))].float()
        found.append((bag, place % 2))
    return found


def data() -> tuple[DataLoader[Any], DataLoader[Any]]:
    """What -d names: loaders that pad, for training and for test."""
    return tuple(
        DataLoader(bags(count, seed), batch_size=40, collate_fn=padded)  # type: ignore[arg-type]
        for count, seed in ((320, 0), (160, 1))
    )  # type: ignore[return-value]


def main(path: str) -> None:
    """Train and save the state_dict."""
    torch.manual_seed(0)
    model = network()
    batches = list(data()[0])
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(16):
        for inputs, labels in batches:
            found = nn.functional.cross_entropy(model(**inputs), labels)
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
    torch.save(model.state_dict(), path)
    print(f"Training loss {found:.4f}; the checkpoint is {path}.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bags.pt")
