"""Survivors in closed form, layer by layer: least squares on each layer's own inputs.

Layers are taken in order of execution, dense ones and convolutions. The survivors of each layer are
set so that its outputs match those of the dense network's layer. The layer gets the inputs of the
network as pruned so far, the dense layer those of the dense network. Every output is a ridge
regression of its own: with x the inputs, y the dense layer's output, s the survivors,

    (K_ss + delta I) w_s = c_s + delta w*_s ,  K = sum x x^T ,  c = sum x y ,

and delta a small share of the mean diagonal of K, which pulls towards the present weights w*. It
takes no labels and no gradients. Statistics of batch normalisation stay as they are, since the
targets are the dense network's.

Sources: He, Zhang, Sun 2017 (layers reconstructed behind others that are pruned already); Frantar,
Alistarh 2022 (least squares for any mask).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..curvature.memory import available_bytes, give_back
from ..devices import wide, wide_device
from ..inputs.problem import Problem, Split
from ..progress import Progress, silent
from .passes import Pass, live_bytes
from .student import fill

__all__ = ["layerwise", "working_bytes"]

RIDGE = 1e-3
"""Share of the mean squared input by which survivors are pulled to their present weights."""
ROWS = 20_000
"""Least number of inputs of a layer (patches of a convolution) for its regression, if its samples
have so many."""
ROWS_PER_WEIGHT = 40
"""The same per weight of an output."""
LEAST_SAMPLES = 800
"""Least number of samples that they come from, if there are so many."""
SAMPLES_PER_WEIGHT = 20
"""The same per weight of an output, if a sample has one input of the layer. Many places of one
sample tell less than as many samples."""
BATCH, LARGE_BATCH = 100, 1_000
"""Samples of a pass, at least and at most: as many as their values stay near the caches."""
CACHED = 4 * 2**20
"""Bytes of these values."""
MOST_KEPT = 64
"""Most batches whose passes wait for the next layer: each takes two threads."""
WHOLE = 64
"""Most outputs that are solved at once."""
ENTRIES = 2**21
"""Most entries of their systems."""


def layerwise(
    problem: Problem,
    weights: Tensor,
    mask: Tensor,
    samples: Split,
    *,
    buffers: dict[str, Tensor] | None = None,
    on_gram: Callable[[str, Tensor], None] | None = None,
    progress: Progress = silent,
) -> Tensor:
    """The free parameters (D,) after the regressions; exactly zero where ``mask`` (D,) is False.

    ``weights`` (D,) are those of the pruned network, from which the regressions start. ``buffers``
    are its own, if there are any. The dense network is ``problem``'s. ``samples`` are read in
    order, as many as a layer needs. Only layers that the forward pass calls as modules take part:
    linear ones, and 1-d and 2-d convolutions without reflected padding. Everything else stays as
    ``weights`` has it. Layers before the first that lost a weight are exact already and stay too.
    For every weight that was fitted, ``on_gram`` is called with its name and the mean of x x^T over
    its inputs. That mean is (groups, weights of an output, the same), float64.
    """
    dense = problem.model
    student = copy.deepcopy(dense)
    fill(student, problem, weights.masked_fill(~mask, 0), buffers or {})
    calls = _order(student, samples)
    masks = problem.layout.unflatten(mask)
    own = dict(student.named_parameters(remove_duplicate=False))
    known = {id(parameter): name for name, parameter in student.named_parameters()}
    weight_of = {name: known[id(student.get_submodule(name).weight)] for name in calls}
    chosen = [name for name in calls if weight_of[name] in masks]
    pruned = [not bool(masks[weight_of[name]].all()) for name in chosen]
    chosen = chosen[pruned.index(True) :] if any(pruned) else []
    with _Passes(dense, student, chosen, samples) as passes:
        for place, name in enumerate(chosen):
            layer = student.get_submodule(name)
            bias = known.get(id(layer.bias)) if layer.bias is not None else None
            free = bias is not None and bias in masks
            kept = masks[weight_of[name]]
            gram = _fit(student, name, calls[name], kept, free, passes)
            if on_gram is not None:
                on_gram(weight_of[name], gram)
            progress("fitting layers", place + 1, len(chosen))
    found = {name: own[name].detach() for name in problem.layout.names}
    return problem.layout.flatten(found).masked_fill(~mask, 0)


def working_bytes(problem: Problem, kept: float, samples: Split) -> tuple[int, int]:
    """Most bytes of the largest systems and of solving them, and of the passes that wait. The
    fraction ``kept`` of every row is left, and layers are read from ``samples``."""
    found = 0
    shapes = dict(zip(problem.layout.names, problem.layout.shapes, strict=True))
    for name in problem.prunable:
        longest = max(1, round(kept * (shapes[name][1:].numel() + 1)))
        together = max(1, min(WHOLE, shapes[name][0], ENTRIES // longest**2))
        entry = torch.float64.itemsize + torch.bool.itemsize  # with the mask of the spare places
        found = max(found, entry * together * longest**2)
    _, batches, of_batch = _passes(problem.model, samples)
    return found, batches * of_batch


def _order(model: nn.Module, samples: Split) -> dict[str, int]:
    """The layers that take part, in the order of their first call, with their numbers of calls."""
    calls: dict[str, int] = {}

    def count(name: str) -> None:
        calls[name] = calls.get(name, 0) + 1

    handles = [
        module.register_forward_pre_hook(lambda _, __, name=name: count(name))
        for name, module in model.named_modules()
        if _takes_part(module)
    ]
    try:
        with torch.no_grad():
            inputs, _ = next(iter(samples.batches(1, order=torch.arange(1))))
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _takes_part(module: nn.Module) -> bool:
    if type(module) is nn.Linear:
        return True
    return type(module) in (nn.Conv1d, nn.Conv2d) and module.padding_mode == "zeros"


class _Passes:
    """Passes of the dense network and of the ``student`` side by side, by batches of ``samples``.

    The passes of as many batches as memory holds go on from layer to layer. The others are begun
    anew for every layer. So are all passes to a layer that is called several times, since all its
    inputs have to be known before it is fitted. The numbers are the same.
    """

    def __init__(
        self, dense: nn.Module, student: nn.Module, layers: list[str], samples: Split
    ) -> None:
        self._dense, self._student, self._layers = dense, student, layers
        self.samples = samples
        batch, room, _ = _passes(dense, samples)
        self._pieces = torch.arange(len(samples)).split(batch)
        self._kept: list[tuple[Pass, Pass]] = []
        self.begun = 0
        """Samples whose passes are kept so far."""
        self._room = room if layers else 0

    def __enter__(self) -> _Passes:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._kept:
            _close(each)

    def to(self, name: str, calls: int) -> Iterator[tuple[int, list[tuple[Tensor, Tensor]]]]:
        """Batch by batch: the number of its samples, and a pair for each of the layer's ``calls``:
        the input that the student gives it, and the output of the dense network's layer."""
        for place, piece in enumerate(self._pieces):
            kept = calls == 1 and place < self._room
            both = self._kept[place] if kept and place < len(self._kept) else self._begun(piece)
            if kept and place == len(self._kept):
                self._kept.append(both)
                self.begun += len(piece)
            try:
                yield len(piece), list(_stops(both, name, calls))
            finally:
                if not kept:
                    _close(both)

    def _begun(self, piece: Tensor) -> tuple[Pass, Pass]:
        inputs, _ = next(iter(self.samples.batches(len(piece), order=piece)))
        return (
            Pass(self._dense, inputs, self._layers, after=True),
            Pass(self._student, inputs, self._layers),
        )


def _stops(both: tuple[Pass, Pass], name: str, calls: int) -> Iterator[tuple[Tensor, Tensor]]:
    dense, student = both
    for _ in range(calls):
        theirs, ours = dense.to(name), student.to(name)
        if theirs is not None and ours is not None and theirs[1] is not None:
            yield ours[0], theirs[1]


def _close(both: tuple[Pass, Pass]) -> None:
    for each in both:
        each.close()


def _passes(model: nn.Module, samples: Split) -> tuple[int, int, int]:
    """Samples of a pass, the most batches whose passes are kept, and the bytes of one batch."""
    inputs, _ = next(iter(samples.batches(1, order=torch.arange(1))))
    of_sample = 2 * live_bytes(model, inputs)
    batch = min(LARGE_BATCH, max(BATCH, CACHED // max(1, of_sample)), len(samples))
    if getattr(samples, "single", False):
        batch = 1
    room = available_bytes(next(model.parameters()).device) // 4
    most = min(MOST_KEPT, -(-len(samples) // batch))
    return batch, min(most, room // max(1, batch * of_sample)), batch * of_sample


def _fit(
    student: nn.Module, name: str, calls: int, kept: Tensor, free: bool, passes: _Passes
) -> Tensor:
    """Set the survivors of one layer, and its bias where that is ``free``; the mean of x x^T."""
    layer = student.get_submodule(name)
    assert isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d))
    groups = getattr(layer, "groups", 1)
    outputs = kept.shape[0] // groups
    size = kept[0].numel()
    where = wide_device(kept.device)
    gram = torch.zeros(groups, size + 1, size + 1, dtype=torch.float64, device=where)
    cross = torch.zeros(groups, size + 1, outputs, dtype=torch.float64, device=where)
    wanted = max(ROWS, ROWS_PER_WEIGHT * size)
    offset = layer.bias.detach() if layer.bias is not None and not free else None
    rows = taken = least = 0
    with torch.no_grad():
        for count, pairs in passes.to(name, calls):
            for given, target in pairs:
                places = _places(layer, target)
                least = max(LEAST_SAMPLES, min(wanted, SAMPLES_PER_WEIGHT * size) // places)
                least = min(len(passes.samples), max(least, passes.begun))
                # As many places of each sample as give the number wanted, spread evenly.
                share = wanted / least / calls
                step = max(1, int(places / max(1.0, share)))
                chosen = torch.arange(taken % step, places, step, device=kept.device)
                patches = _patches(layer, given, chosen)
                aims = _aims(layer, target, chosen, offset)
                patches = torch.cat([patches, patches.new_ones(*patches.shape[:2], 1)], -1)
                gram += wide(patches.transpose(1, 2) @ patches)
                cross += wide(patches.transpose(1, 2) @ aims)
                rows += patches.shape[1]
            taken += count
            if taken >= least:
                break
        give_back()
        flat = layer.weight.detach().reshape(groups, outputs, size)
        masks = kept.reshape(groups, outputs, size)
        own = layer.bias
        constants = own.detach().view(groups, outputs) if free and own is not None else None
        for group in range(groups):
            bias = None if constants is None else constants[group]
            fitted, constant = _solved(gram[group], cross[group], flat[group], masks[group], bias)
            flat[group] = fitted
            if constants is not None:
                constants[group] = constant
        layer.weight.copy_(flat.reshape(layer.weight.shape))
    return gram[:, :size, :size] / max(1, rows)


def _solved(
    gram: Tensor, cross: Tensor, weights: Tensor, kept: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The ridge regressions of outputs with their own survivors; (outputs, size) and (outputs,).

    Without a ``bias`` the constant is left out. Outputs with about the same number of survivors are
    solved together. Where one has fewer, the spare places hold an identity.
    """
    size = weights.shape[1]
    used = size + 1 if bias is not None else size
    delta = RIDGE * float(gram.diagonal()[:size].mean())
    if delta < torch.finfo(gram.dtype).tiny:  # inputs that are always zero: nothing to fit
        delta = 1.0
    found = torch.zeros(len(weights), used, dtype=gram.dtype, device=gram.device)
    start, kept = wide(weights), kept.to(gram.device)
    if bias is not None:
        start = torch.cat([start, wide(bias)[:, None]], 1)
        kept = torch.cat([kept, kept.new_ones(len(kept), 1)], 1)
    counts = kept.sum(1)
    order = counts.argsort()
    begin = 0
    while begin < len(order):
        most = max(1, int(counts[order[min(len(order) - 1, begin + WHOLE - 1)]]))
        chosen = order[begin : begin + max(1, min(WHOLE, ENTRIES // most**2))]
        begin += len(chosen)
        longest = int(counts[chosen].max())
        if not longest:
            continue
        # The survivors of each output first, in their order.
        places = torch.argsort((~kept[chosen]).byte(), dim=1, stable=True)[:, :longest]
        inner = torch.arange(longest, device=kept.device) < counts[chosen][:, None]

        def system(places: Tensor = places, inner: Tensor = inner) -> Tensor:
            made = gram[places[:, :, None], places[:, None, :]]
            made *= inner[:, :, None] & inner[:, None, :]
            torch.diagonal(made, dim1=1, dim2=2).add_(torch.where(inner, delta, 1.0))
            return made

        side = cross[:, chosen].T.gather(1, places) + delta * start[chosen].gather(1, places)
        solved = _solved_by_roots(system, (side * inner)[:, :, None])[:, :, 0]
        row = found.new_zeros(len(chosen), used).scatter_(1, places, solved * inner)
        found[chosen] = row
    constant = found[:, size] if bias is not None else found.new_zeros(len(found))
    return found[:, :size].to(weights), constant.to(weights)


def _solved_by_roots(system: Callable[[], Tensor], side: Tensor) -> Tensor:
    """The solutions (b, n, 1) for symmetric positive systems (b, n, n), each factored in place.

    ``system`` makes them, anew where rounding has made one indefinite.
    """
    root = system().mT  # the same matrix, and laid out as LAPACK wants it
    failed = torch.empty(len(root), dtype=torch.int32, device=root.device)
    torch.linalg.cholesky_ex(root, out=(root, failed))
    found: Tensor
    if bool(failed.any()):
        found, singular = torch.linalg.solve_ex(system(), side)
        if bool(singular.any()):  # of all solutions the smallest
            found = torch.linalg.pinv(system(), hermitian=True) @ side
    else:
        half = torch.linalg.solve_triangular(root, side, upper=False)
        found = torch.linalg.solve_triangular(root.mT, half, upper=True)
    return found


def _places(layer: nn.Module, outputs: Tensor) -> int:
    """Outputs of a sample in one channel."""
    if isinstance(layer, nn.Linear):
        return outputs[0].numel() // outputs.shape[-1]
    return outputs[0, 0].numel()


def _patches(layer: nn.Module, inputs: Tensor, places: Tensor) -> Tensor:
    """The inputs that the outputs at ``places`` are sums over; (groups, rows, weights of an
    output)."""
    if isinstance(layer, nn.Linear):
        flat = inputs.reshape(len(inputs), -1, inputs.shape[-1])
        return flat[:, places].reshape(1, -1, inputs.shape[-1])
    assert isinstance(layer, (nn.Conv1d, nn.Conv2d))
    padding = layer._reversed_padding_repeated_twice
    padded = nn.functional.pad(inputs, padding)
    if isinstance(layer, nn.Conv1d):
        padded = padded[:, :, None]
    dims = len(layer.kernel_size)
    kernel, stride, dilation = (
        (1,) * (2 - dims) + tuple(each)
        for each in (layer.kernel_size, layer.stride, layer.dilation)
    )
    windows = padded
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        windows = windows.unfold(2 + axis, reach, stride[axis])
        windows = windows[..., :: dilation[axis]]
    width = windows.shape[3]
    found = windows[:, :, places // width, places % width]
    count, channels, rows = found.shape[:3]
    found = found.reshape(count, layer.groups, channels // layer.groups, rows, -1)
    return found.permute(1, 0, 3, 2, 4).reshape(layer.groups, count * rows, -1)


def _aims(layer: nn.Module, outputs: Tensor, places: Tensor, offset: Tensor | None) -> Tensor:
    """The dense layer's outputs at ``places``, without a bias that is not free; (groups, rows,
    outputs)."""
    if isinstance(layer, nn.Linear):
        flat = outputs.reshape(len(outputs), -1, outputs.shape[-1])[:, places]
        flat = flat.reshape(-1, outputs.shape[-1])
    else:
        flat = outputs.flatten(2)[:, :, places].transpose(1, 2).reshape(-1, outputs.shape[1])
    flat = flat if offset is None else flat - offset
    groups = getattr(layer, "groups", 1)
    return flat.view(len(flat), groups, -1).transpose(0, 1)
