"""Python processes that have torch and this package loaded from their start.

A server loads them once and forks; to start Python and load them takes seconds in every process.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

LOADED = (
    "torch",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "prunelimit.cli.main",
    "prunelimit.commands.predict",
    "prunelimit.commands.prune",
)


class Started:
    """``python arguments`` (a script, ``-c`` code or ``-m`` module) in a process of its own, with
    these variables besides, in ``folder``."""

    def __init__(self, arguments: Sequence[object], folder: Path | None = None, **env: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LOADED))
        self._said = tempfile.TemporaryDirectory()
        given = [str(each) for each in arguments]
        self._process: BaseProcess = context.Process(
            target=_run,
            args=(given, str(folder or Path.cwd()), {**os.environ, **env}, self._said.name),
        )
        self._process.start()

    def finish(self, timeout: float = 600) -> tuple[int, str, str]:
        """Exit code, negative for the signal that ended it, and both streams."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        code = self._process.exitcode
        assert code is not None
        out, err = ((Path(self._said.name) / name).read_text() for name in ("out", "err"))
        self._said.cleanup()
        return code, out, err


def _run(arguments: list[str], folder: str, env: Mapping[str, str], said: str) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(Path(said) / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path[:0] = [each for each in env.get("PYTHONPATH", "").split(os.pathsep) if each]
    os._exit(_code(arguments))


def _code(arguments: list[str]) -> int:
    first, *rest = arguments
    code: object = 0
    try:
        if first == "-m":
            sys.path.insert(0, str(Path.cwd()))
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.path.insert(0, "")
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.path.insert(0, str(Path(first).parent))
            sys.argv = arguments
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)
