"""dbt, run in this process: what ``dagster-dbt`` offers without a second interpreter.

``DbtCliResource`` starts a process for each command, which imports dbt once more: four seconds of
work for every partition, a quarter of a small one. dbt can be invoked from Python just as well, one
invocation at a time, and tells its events to a callback. Selection, translation to Dagster's events
and errors stay those of ``dagster-dbt``.
https://docs.getdbt.com/reference/programmatic-invocations
"""

import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtCliResource
from dagster_dbt.asset_utils import (
    extract_runtime_selection_from_args,
    get_updated_cli_invocation_params_for_context,
)
from packaging.version import parse

PARTIAL_PARSE = "partial_parse.msgpack"


class DbtInProcess(DbtCliResource):  # type: ignore[misc]
    """The dbt command line on one project, in this process."""

    def cli(
        self,
        args: Sequence[str],
        *,
        context: dg.AssetExecutionContext | None = None,
        target_path: Path | None = None,
    ) -> DbtCliInvocation:
        """Return an invocation of a command for the assets of a context; it runs when streamed."""
        command, selected, excluded = extract_runtime_selection_from_args(args)
        told = get_updated_cli_invocation_params_for_context(
            context=context,
            manifest={},
            dagster_dbt_translator=DagsterDbtTranslator(),
            runtime_selects=selected,
            runtime_excludes=excluded,
        )
        project = Path(self.project_dir)
        target = target_path or project / self._get_unique_target_path(context=context)
        arguments = [*command, *told.selection_args]
        if told.indirect_selection:
            arguments += ["--indirect-selection", told.indirect_selection]
        arguments += ["--project-dir", str(project), "--profiles-dir", str(self.profiles_dir)]
        # The events are printed by whoever streams them.
        arguments += ["--target-path", str(target), "--log-path", str(target)]
        arguments += ["--log-level", "none", "--log-format-file", "json"]
        # What dbt would write for other processes, a second's work, this one has at hand.
        arguments += ["--no-write-json"]
        return DbtCliInvocation(
            process=_Invocation(arguments, project / "target" / PARTIAL_PARSE, target),
            manifest=told.manifest,
            dagster_dbt_translator=told.dagster_dbt_translator,
            project_dir=project,
            target_path=target,
            raise_on_error=True,
            cli_version=parse(version("dbt-core")),
            context=context,
        )


def compiled_code(invocation: DbtCliInvocation) -> dict[str, str]:
    """Return the SQL that an invocation, once streamed, compiled of its models, by unique id."""
    return dict(invocation.process.compiled)


class _Invocation:
    """Stands where ``dagster-dbt`` expects a process: its output is dbt's events as JSON lines."""

    def __init__(self, arguments: Sequence[str], parsed: Path, target: Path) -> None:
        self.args = ["dbt", *arguments]
        self.returncode: int | None = None
        self.stdout = self
        self.closed = False
        self.compiled: dict[str, str] = {}
        self._parsed, self._target = parsed, target

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[bytes]:
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner
        from dbt_common.events.functions import msg_to_json

        lines: list[bytes] = []

        def keep(message: Any) -> None:
            if message.info.level != "debug":
                lines.append(msg_to_json(message).encode())

        self._target.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._parsed, self._target)
        try:
            result = dbtRunner(callbacks=[keep]).invoke(self.args[1:])
        finally:
            # dbt-duckdb keeps its warehouse open for the next invocation with the same profile,
            # which is another partition's, in another warehouse under the same name.
            DuckDBConnectionManager.close_all_connections()
        self.returncode = 0 if result.success else 1
        for ran in result.result or ():
            if getattr(ran.node, "compiled_code", None):
                self.compiled[ran.node.unique_id] = ran.node.compiled_code
        yield from lines
        # dbt hands back whatever was raised; what asks this process to end must not stay there.
        if result.exception and not isinstance(result.exception, Exception):
            raise result.exception

    def wait(self, timeout: float | None = None) -> int:  # noqa: ARG002
        """Return the exit code; the invocation has ended once its events were read."""
        return 1 if self.returncode is None else self.returncode

    def send_signal(self, signal: int) -> None:
        """Do nothing: the signal reached this process, and dbt with it."""
