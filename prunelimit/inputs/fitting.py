"""A file's tensors put into a network, whatever prefixes their names have. torch's own
``load_state_dict``, with its hooks, decides what fits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, shown
from .checkpoint import Checkpoint
from .known import likely_builtin
from .plain import copied, fold_network, folded_names, folded_tensors
from .resolve import reason
from .states import EXTRA_STATE, State, choose, is_known, strip_prefixes

__all__ = ["Fitted", "fit", "head_of", "listed"]

INFIXES = frozenset(
    ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
)
"""Parts that wrappers put before the names of the module that they wrap."""

HARNESSES = ("model", "module", "net", "network", "backbone")
"""Attributes under which training harnesses hold a network."""

COUNTERS = ("total_ops", "total_params", "n_averaged")
"""Last parts of names of tensors that profilers and averaging leave. No network computes with
them."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TRIES = 4


@dataclass(frozen=True)
class Fitted:
    """A network with a file's weights.

    ``tensors`` are the file's own, by the names that the network has for them. ``notices`` say in
    sentences what was chosen, folded or left out.
    """

    network: nn.Module
    tensors: dict[str, Tensor]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    """One reading of a state: ``names`` from the network's to the file's, and those ``beside``."""

    names: dict[str, str]
    prefix: str
    beside: tuple[str, ...] = ()


@dataclass
class _Outcome:
    """The result of a try. If it fits, nothing is missing and nothing is left over."""

    state: State
    candidate: _Candidate
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    error: str | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        return not self.missing and not self.unexpected and self.error is None

    @property
    def distance(self) -> tuple[int, int]:
        return len(self.missing) + len(self.unexpected), self.error is not None


def fit(network: nn.Module, checkpoint: Checkpoint, spec: str, key: str | None = None) -> Fitted:
    """``network`` (in eval mode afterwards) with the weights of ``checkpoint``.

    Every state_dict in the file, or the one at ``key``, is tried under its own names. It is tried
    without the prefixes that its names share and with those that the network's share. Then what
    torch.nn.utils.prune and parametrizations left of its weights is folded, and it is tried again.
    Last that of the network is folded too. What such tools left in the network is folded in the
    end.

    Raises:
        InputError: nothing in the file fits; several state_dicts do, and none is known to be the
            one meant; or the file has a tensor in another type than the network.
    """
    states = choose(list(checkpoint.states), key, str(checkpoint.path))
    closest: _Outcome | None = None
    for folding in (False, True):
        if folding:
            if not folded_names(network):
                break
            network = copied(network)
            fold_network(network)
        fitting = []
        for state in states:
            found = _fit_state(network, checkpoint, state, spec)
            if found.fits:
                fitting.append(found)
            elif closest is None or found.distance < closest.distance:
                closest = found
        if fitting:
            return _taken(network, checkpoint, fitting, key)
    assert closest is not None
    raise _misfit(network, checkpoint, closest, spec)


def head_of(
    network: nn.Module, checkpoint: Checkpoint, classes: int, key: str | None = None
) -> int | None:
    """How many outputs the file's network has, if nothing but that number does not fit ``network``
    of ``classes`` outputs. None if all fits, or something else does not."""
    own = {name: each.shape for name, each in network.state_dict(keep_vars=True).items()}
    for state in choose(list(checkpoint.states), key, str(checkpoint.path)):
        theirs = {name: each.shape for name, each in strip_prefixes(state.tensors).items()}
        other = {name for name in own.keys() & theirs.keys() if own[name] != theirs[name]}
        sizes = {theirs[name][0] for name in other if len(theirs[name])}
        heads = all(
            len(theirs[name]) == len(own[name]) > 0
            and own[name][0] == classes
            and theirs[name][1:] == own[name][1:]
            for name in other
        )
        if heads and len(sizes) == 1:
            return int(sizes.pop())
    return None


def _taken(
    network: nn.Module, checkpoint: Checkpoint, fitting: list[_Outcome], key: str | None
) -> Fitted:
    """The first outcome that fits, loaded anew and reported."""
    first, *others = fitting
    differing = [each for each in others if not _same(first, each)]
    if differing and key is None and not _preferred(first, differing):
        names = ", ".join(shown(each.state.key or "itself") for each in (first, *differing))
        raise InputError(
            f"{checkpoint.path} holds several state_dicts that fit ({names}); choose one with "
            "`key`."
        )
    candidate = first.candidate
    if others:  # a later try has overwritten it
        _try(network, first.state, candidate)
    notices = list(first.notices)
    if differing:
        left = ", ".join(shown(each.state.key) for each in differing)
        notices.insert(
            0,
            f"{checkpoint.path}: the weights are read from {shown(first.state.key) or 'the top'}; "
            f"{left} would fit too (choose with `key`).",
        )
    if candidate.beside:
        notices.append(
            f"{checkpoint.path}: {listed(candidate.beside)} not part of the network and left out."
        )
    before = {name: each for name, each in network.state_dict().items()}
    folded = fold_network(network)
    if folded:
        notices.append(
            f"{listed(folded)} parametrized or masked in the network; the plain weights that the "
            "network computes with are pruned and written. The network loads them once its own "
            "parametrizations, norms of weights and masks are removed."
        )
    after = network.state_dict()
    tensors = {
        name: first.state.tensors[file_name]
        for name, file_name in candidate.names.items()
        if name in before and name in after and file_name in first.state.tensors
    }
    return Fitted(network.eval(), tensors, tuple(notices))


def _preferred(first: _Outcome, others: list[_Outcome]) -> bool:
    """Whether the file's own names say that ``first`` is meant."""
    if all(each.state.average for each in others):
        return True
    return is_known(first.state) and not any(is_known(each.state) for each in others)


def _same(left: _Outcome, right: _Outcome) -> bool:
    mine = {
        n: left.state.tensors[f] for n, f in left.candidate.names.items() if f in left.state.tensors
    }
    theirs = {
        n: right.state.tensors[f]
        for n, f in right.candidate.names.items()
        if f in right.state.tensors
    }
    return mine.keys() == theirs.keys() and all(
        each.dtype == theirs[name].dtype and torch.equal(each, theirs[name])
        for name, each in mine.items()
    )


def _fit_state(network: nn.Module, checkpoint: Checkpoint, state: State, spec: str) -> _Outcome:
    """The first reading of ``state`` that fits, or the closest."""
    variants: list[tuple[State, list[str]]] = [(state, [])]
    broken: InputError | None = None
    names: list[str] = []
    try:
        folded, names = folded_tensors(state.tensors)
    except InputError as error:
        broken = error  # parts of the network's own, perhaps, which it reads itself
    if names:
        notice = (
            f"{checkpoint.path}: {listed(names)} stored as parts (of a mask, a norm or a "
            "parametrization) and read as the plain weights that these parts make."
        )
        if any(name.endswith(".original0") for name in state.tensors):
            notice += " The parts original0 and original1 are read as those of torch's weight_norm."
        variants.append((State(state.key, folded, state.extra, state.metadata), [notice]))
    closest: _Outcome | None = None
    for variant, notices in variants:
        fitting = []
        for candidate in _candidates(variant, network.state_dict().keys()):
            found = _try(network, variant, candidate, checkpoint)
            found.notices[:0] = notices
            if found.fits:
                fitting.append(found)
                if not candidate.beside:
                    break
            elif closest is None or found.distance < closest.distance:
                closest = found
        if fitting:
            return _of_prefixes(network, checkpoint, fitting)
    if broken is not None:
        raise broken
    assert closest is not None
    return closest


def _of_prefixes(network: nn.Module, checkpoint: Checkpoint, fitting: list[_Outcome]) -> _Outcome:
    """The reading that is meant, of several that leave something beside the network."""
    whole = [each for each in fitting if not each.candidate.beside]
    usual = [each for each in fitting if each.candidate.prefix.split(".")[-1] in HARNESSES]
    for chosen in (whole, usual, fitting):
        if len(chosen) == 1 or (chosen and all(_same(chosen[0], each) for each in chosen[1:])):
            if len(fitting) > 1:
                _try(network, chosen[0].state, chosen[0].candidate)
            return chosen[0]
    names = ", ".join(shown(each.candidate.prefix) for each in fitting)
    raise InputError(
        f"{checkpoint.path} holds the network under several names ({names}); choose one with `key`."
    )


def _candidates(state: State, wanted: Collection[str]) -> list[_Candidate]:
    """Readings of the names of ``state``, those that share most with ``wanted`` first."""
    wanted = set(wanted)
    names = [*state.tensors, *state.extra]
    found: list[tuple[int, int, _Candidate]] = []
    seen = set()
    for place, (mapping, prefix, beside) in enumerate(_readings(names, wanted)):
        mark = (frozenset(mapping.items()), beside)
        if mark in seen:
            continue
        seen.add(mark)
        shared = len(wanted & mapping.keys())
        found.append((-shared, place, _Candidate(mapping, prefix, beside)))
    first = found[0]
    best = sorted(found, key=lambda each: each[:2])[:TRIES]
    # The names as they are come first, since a hook of the network may know older names.
    return [first[2], *(each[2] for each in best if each is not first and each[0] < 0)]


Reading = tuple[dict[str, str], str, tuple[str, ...]]


def _readings(names: list[str], wanted: set[str]) -> Iterator[Reading]:
    bare = [".".join(part for part in name.split(".") if part not in INFIXES) for name in names]
    mine = _shared_prefixes(list(wanted))
    for new in [names] if bare == names else [names, bare]:
        pairs = list(zip(new, names, strict=True))
        yield dict(pairs), "", ()
        for prefix in mine:
            yield {f"{prefix}.{short}": name for short, name in pairs}, "", ()
        heads = dict.fromkeys(each.split(".", 1)[0] for each in new if "." in each)
        for head in list(heads)[:200]:
            yield from _stripped(pairs, head, mine)


def _stripped(pairs: list[tuple[str, str]], head: str, mine: list[str]) -> Iterator[Reading]:
    """Readings without ``head``, and without the part that the names share behind it."""
    inner = [
        (short[len(head) + 1 :], name) for short, name in pairs if short.startswith(f"{head}.")
    ]
    held = {name for _, name in inner}
    beside = tuple(name for _, name in pairs if name not in held)
    for level in ["", *_shared_prefixes([short for short, _ in inner])]:
        cut = len(level) + 1 if level else 0
        whole = f"{head}.{level}" if level else head
        stripped = [(short[cut:], name) for short, name in inner]
        yield dict(stripped), whole, beside
        for prefix in mine:
            if prefix != whole:  # else the names are unchanged, and nothing is beside the network
                yield {f"{prefix}.{short}": name for short, name in stripped}, whole, beside


def _shared_prefixes(names: list[str]) -> list[str]:
    """Every path of modules that all ``names`` begin with, the shortest first."""
    if not names:
        return []
    parts = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for place in range(min(map(len, parts))):
        if len({part[place] for part in parts}) > 1:
            break
        shared.append(parts[0][place])
    return [".".join(shared[: end + 1]) for end in range(len(shared))]


def _try(
    network: nn.Module,
    state: State,
    candidate: _Candidate,
    checkpoint: Checkpoint | None = None,
) -> _Outcome:
    """Load ``candidate`` into ``network``. If ``checkpoint`` is given, types are checked before."""
    values: OrderedDict[str, Any] = OrderedDict()
    for name, file_name in candidate.names.items():
        values[name] = state.tensors.get(file_name, state.extra.get(file_name))
    found = _Outcome(state, candidate)
    own = network.state_dict(keep_vars=True)
    # If a reading shares little with the network, its types mean nothing.
    if checkpoint is not None and 2 * len(own.keys() & values.keys()) >= len(own):
        _check_types(values, own, checkpoint)
        tied = _tied(values, own)
        if tied is not None:
            raise InputError(
                f"{checkpoint.path} does not fit the network: {shown(tied[0])} and "
                f"{shown(tied[1])} are one tensor in the network, but two in the file; save the "
                "network again, or give one that does not tie them."
            )
    counters = [name for name in values if name.rpartition(".")[2] in COUNTERS and name not in own]
    for name in counters:
        del values[name]
    shaped = _misshaped(values, own)
    if shaped is not None:
        found.error = shaped
        found.missing = [name for name in own if name not in values]
        found.unexpected = [name for name in values if name not in own]
        return found
    if state.metadata is not None:
        values._metadata = _renamed(state.metadata, candidate)  # type: ignore[attr-defined]
    assign = any(isinstance(each, Tensor) and each.is_meta for each in own.values())
    try:
        result = network.load_state_dict(values, strict=False, assign=assign)
    except Exception as error:  # whatever a hook of the network raises
        found.error = f"({reason(error)})"
        found.missing = [name for name in own if name not in values]
        found.unexpected = [name for name in values if name not in own]
        return found
    given = {id(own[name]) for name in values if name in own}
    for name in result.missing_keys:
        last = name.rpartition(".")[2]
        if last == EXTRA_STATE:
            found.notices.append(
                f"{shown(name)} is not in the file and stays as the network made it."
            )
        elif last != "num_batches_tracked" and not (name in own and id(own[name]) in given):
            found.missing.append(name)
    for name in result.unexpected_keys:
        if name.rpartition(".")[2] == EXTRA_STATE:
            found.notices.append(
                f"{shown(name)} is in the file but not in the network, and is left out."
            )
        else:
            found.unexpected.append(name)
    if counters:
        found.notices.append(f"{listed(counters)} counters of a profiler and left out.")
    return found


def _check_types(values: Mapping[str, Any], own: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Refuse numbers that the network's type would change.

    Raises:
        InputError: there are some.
    """
    for name, mine in own.items():
        given = values.get(name)
        if not isinstance(given, Tensor) or not isinstance(mine, Tensor):
            continue
        weight = isinstance(mine, nn.Parameter)
        if _keeps(given, mine.dtype, weight=weight):
            continue
        kind = str(given.dtype).removeprefix("torch.")
        raise InputError(
            f"{checkpoint.path} holds {shown(name)} as {kind}, and as the network's "
            f"{str(mine.dtype).removeprefix('torch.')} it would be other numbers; save the "
            "weights that the network computes with, as floating-point numbers of 16 bits or more."
        )


def _keeps(given: Tensor, dtype: torch.dtype, *, weight: bool) -> bool:
    """Whether ``given`` holds the same numbers in ``dtype``, and numbers of the same meaning."""
    if given.is_quantized:
        return False
    if given.dtype in FLOATS and dtype in FLOATS:
        return True
    if given.is_complex() and dtype.is_complex:
        return True
    if weight or given.is_complex() or dtype.is_complex or given.is_meta:
        return given.dtype == dtype
    if given.is_floating_point() and given.dtype not in FLOATS:
        return given.dtype == dtype
    there = given.to(dtype)
    return bool((there.to(given.dtype) == given).all())


def _tied(values: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, str] | None:
    """Two names of one tensor of the network under which the values differ."""
    known: dict[int, str] = {}
    for name, mine in own.items():
        given = values.get(name)
        if not isinstance(given, Tensor) or not isinstance(mine, Tensor):
            continue
        first = known.setdefault(id(mine), name)
        if first != name:
            other = values[first]
            if other.shape == given.shape and not torch.equal(other, given):
                return first, name
    return None


def _misshaped(values: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    for name, mine in own.items():
        given = values.get(name)
        if isinstance(given, Tensor) and isinstance(mine, Tensor) and given.shape != mine.shape:
            # Older versions of torch saved scalars with one dimension; torch itself reads them.
            if mine.ndim == 0 and given.shape == (1,):
                continue
            return (
                f"{shown(name)} has shape {tuple(given.shape)} in the file, {tuple(mine.shape)} in "
                "the network"
            )
    return None


def _renamed(metadata: Mapping[str, Any], candidate: _Candidate) -> Mapping[str, Any]:
    """``metadata`` of modules by the names that ``candidate`` gives them."""
    modules = {
        name.rpartition(".")[0]: file_name.rpartition(".")[0]
        for name, file_name in candidate.names.items()
    }
    found = OrderedDict(metadata)
    found.update({name: metadata[file] for name, file in modules.items() if file in metadata})
    return found


def _misfit(network: nn.Module, checkpoint: Checkpoint, closest: _Outcome, spec: str) -> InputError:
    path = checkpoint.path
    key = closest.state.key
    where = f"{path} ({shown(key)})" if key and len(checkpoint.states) > 1 else str(path)
    remedy = "check `model`"
    likely = likely_builtin({n: tuple(t.shape) for n, t in closest.state.tensors.items()})
    if likely is not None and likely != spec:
        remedy += f" (the file's names are those of {likely})"
    if not (closest.missing or closest.unexpected) and closest.error is not None:
        if closest.error.startswith("("):
            return InputError(f"{where} does not fit {spec} {closest.error}; {remedy}.")
        return InputError(f"{where} does not fit {spec}: {closest.error}; {remedy} and `data`.")
    parts = []
    if closest.missing:
        parts.append(f"the network's {listed(closest.missing)} not in the file")
    if closest.unexpected:
        parts.append(f"the file's {listed(closest.unexpected)} not in the network")
    return InputError(f"{where} does not fit {spec}: {'; '.join(parts)}; {remedy}.")


def listed(names: Collection[str]) -> str:
    """``"a is"``, ``"a, b are"``, or the first three of more."""
    names = list(names)
    some = ", ".join(map(shown, names[:3]))
    if len(names) > 3:
        some += f" and {len(names) - 3} more"
    return some + (" is" if len(names) == 1 else " are")
