# %% [markdown]
# # How sparse can we prune a network? The paper's story on digits
#
# Zhang, Zhang, Sun and Liu (NeurIPS 2024) predict how many weights of a trained network can go,
# before anything is pruned. The story in five minutes: train a network that wants to be sparse,
# look at its curvature, predict, and let a measurement say whether the prediction was right.

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
trained = pl.train(fresh, epochs=60, l1=3e-4)
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
# it, let alone trained. Training does not find every such setting: it stops a little earlier.

# %%
limit = pl.predict(problem)
print(f"plain {limit.one_shot.sparsity:.1%}, limit {limit.limit.sparsity:.2%}")
print(f"reliable: {limit.reliability.ok}", *limit.reliability.reasons)
limit

# %% [markdown]
# ## Was it right?
#
# First nothing but removal: plain is where the loss has risen by epsilon. Then the weights that
# stay are trained again, at a few sparsities on either side of the limit.

# %%
one_shot = pl.measure(problem, resolution=0.01)
threshold = next(each for each in one_shot.thresholds if each.rule == "loss")
print(f"measured, nothing moved: the loss holds to {threshold.sparsity:.1%}")

# %%
places = [0.95, 0.98, 0.99, 0.993, 0.996, 0.998]
again = pl.measure(problem, "magnitude+trained", sparsities=places)
for point in again.curve:
    print(f"trained at {point.sparsity:.1%}: loss {point.loss:.4f}, accuracy {point.accuracy:.1%}")
feasible = next(each for each in again.thresholds if each.rule == "feasibility")
low, high = feasible.interval
print(f"measured, trained: the loss holds to {low:.1%} and not to {high:.1%}")
least, most = limit.limit.interval
print(f"predicted: limit {limit.limit.sparsity:.2%}, between {least:.1%} and {most:.1%}")

# %% [markdown]
# What is measured is a lower bound: more training, in finer steps, could hold the loss where this
# did not. The gate says how far the two are apart.

# %%
verdict = pl.check(limit, again)
print(f"within 2 points: {verdict.passed}")
verdict

# %% [markdown]
# ## One figure
#
# Removal alone loses the network long before the limit. Trained weights come within a point of it.

# %%
figure = pl.plot(limit, one_shot, again)
figure
