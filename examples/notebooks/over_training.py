# %% [markdown]
# # When does a network become prunable?
#
# Keep a checkpoint of every few epochs, and predict each: how sparse could the network have been
# made at that time?

# %%
"""How sparse a network could be made, over its training.

    python examples/notebooks/over_training.py

The file is plain Python; Jupyter (by jupytext) and VS Code open it as a notebook.
"""

import tempfile

import torch
from torch import nn

import prunelimit as pl
from prunelimit.integrations.record import Recorder

# %% [markdown]
# ## In a training loop of one's own
#
# The recorder predicts the network as it is. Training goes on as if nothing had been asked.

# %%
inputs = torch.randn(1000, 12, generator=torch.Generator().manual_seed(0))
targets = (inputs[:, :3].sum(1) > 0).long()
train, test = (inputs[:700], targets[:700]), (inputs[700:], targets[700:])
torch.manual_seed(0)
network = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
recorder = Recorder((train, test), every=5, options={"samples": 200, "steps": 20, "probes": 1})
for epoch in range(1, 21):
    for rows in torch.randperm(700).split(100):
        loss = nn.functional.cross_entropy(network(train[0][rows]), train[1][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if recorder.due(epoch):
        values = recorder.record(network, epoch)
        print(f"epoch {epoch}: plain {values['prunelimit/plain']:.1%}")

# %% [markdown]
# Lightning and the Trainer of transformers have a callback each that does the same:
# `prunelimit.integrations.lightning` and `.transformers`.

# %% [markdown]
# ## From checkpoints

# %%
with tempfile.TemporaryDirectory() as folder:
    fresh = pl.Problem.new(model="lenet-300-100", data="digits")
    for epochs in (2, 6, 12):
        pl.train(fresh, epochs=epochs, l1=1e-4).save(f"{folder}/epoch={epochs}.safetensors")
    history = pl.history(folder, samples=200, steps=20, probes=1)
print(history.summary())
history
