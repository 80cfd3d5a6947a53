# %% [markdown]
# # Which layer breaks first?
#
# Pruned by size alone, a network breaks where its most sensitive layer does. Prune each layer
# alone, see what it costs, and share what goes by that.

# %%
"""Each layer alone, and what is gained by sharing what is removed by it.

    python examples/notebooks/which_layer_breaks.py

The file is plain Python; Jupyter (by jupytext) and VS Code open it as a notebook.
"""

import tempfile
from pathlib import Path

import prunelimit as pl

# %%
fresh = pl.Problem.new(model="lenet-300-100", data="digits")
problem = pl.train(fresh, epochs=12, l1=1e-4).problem
layers = pl.sensitivity(problem)
print(layers.summary())
layers

# %% [markdown]
# The most sensitive layer is the last: it has the fewest weights, and each counts.

# %%
for layer in layers.top(3):
    print(f"{layer.name} of {layer.weights:,} weights: within half a point to {layer.holds:.0%}")

# %% [markdown]
# ## Sparsities that add least to the loss
#
# `targets` takes what the layers add to the loss as a sum, and gives the least one.

# %%
for name, share in layers.targets(0.9).items():
    print(f"{name}: {share:.1%}")

# %% [markdown]
# ## Against all layers together, and all alike
#
# The saved curves are an allocation like any other.

# %%
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "layers.json"
    layers.save(file)
    for allocation in ("uniform", "global", f"targets:{file}"):
        pruned = pl.prune(problem, 0.9, allocation=allocation)
        print(f"{allocation.partition(':')[0]} at 90%: {pruned.result.accuracy_after:.2%} right")
