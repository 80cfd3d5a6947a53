# %% [markdown]
# # How sparse can we prune a network? The paper's story on digits
#
# Zhang, Zhang, Sun and Liu (NeurIPS 2024) predict how many weights of a trained network can go,
# before anything is pruned. The story in five minutes: train a network that wants to be sparse, look
# at its curvature, predict, and let a measurement say whether the prediction was right.

# %%
"""The paper's story on handwritten digits, cell by cell.

    python examples/notebooks/paper_on_digits.py

The file is plain Python; Jupyter (by jupytext) and VS Code open it as a notebook.
"""

import prunelimit as pl

# %% [markdown]
# ## A network that wants to be sparse
#
# An l1 penalty pulls weights towards zero. The loss then has many directions in which it is flat.

# %%
fresh = pl.Problem.new(model="lenet-300-100", data="digits")
trained = pl.train(fresh, epochs=30, l1=3e-4)
problem = trained.problem
print(f"dense network: {trained.result.dense.accuracy:.1%} of the test digits are right")
trained.result

# %% [markdown]
# ## Its curvature
#
# Nearly all eigenvalues of the loss's curvature are next to zero. The few large ones are the
# directions in which weights may not move.

# %%
spectrum = pl.spectrum(problem, samples=200, steps=40, probes=1)
print(f"largest eigenvalue {spectrum.curvature.lambda_max:.3g}, of {spectrum.model.free:,}")
spectrum

# %% [markdown]
# ## The prediction
#
# Two numbers. *Plain*: up to here the smallest weights can go and nothing else needs to change.
# *Limit*: up to here some setting of the weights that stay keeps the loss. No network is pruned for
# it, let alone trained.

# %%
limit = pl.predict(problem, samples=500)
print(f"plain {limit.one_shot.sparsity:.1%}, limit {limit.limit.sparsity:.2%}")
limit

# %% [markdown]
# ## Was it right?
#
# First nothing but removal: plain is where the loss starts to rise. Then the weights that stay are
# trained again, at a few sparsities on either side of the limit.

# %%
one_shot = pl.measure(problem, resolution=0.01)
threshold = next(each for each in one_shot.thresholds if each.rule == "loss")
print(f"measured: the loss holds to {threshold.sparsity:.1%}, plain was predicted")

# %%
places = [0.9, 0.95, 0.98, 0.99, 0.995, 0.998]
again = pl.measure(problem, "magnitude+trained", sparsities=places, refit_passes=15)
for point in again.curve:
    print(f"trained at {point.sparsity:.1%}: loss {point.loss:.4f}, accuracy {point.accuracy:.1%}")
feasible = next(each for each in again.thresholds if each.rule == "feasibility")
low, high = feasible.interval
print(
    f"measured: feasible to {low:.1%}, not at {high:.1%}; the limit was {limit.limit.sparsity:.2%}"
)

# %% [markdown]
# ## One figure
#
# Removal alone falls off far below the limit; trained survivors follow it.

# %%
figure = pl.plot(limit, one_shot, again)
figure
