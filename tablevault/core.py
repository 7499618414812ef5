"""The public class and functions: signatures and documentation, one call each.

Each imports what it calls when it is called: opening a vault takes half as long that way.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tablevault.argument_types import (
    CALLS_KEPT_DAYS,
    GC_GRACE_DAYS,
    LOCK_TIMEOUT_S,
    checked,
    checked_class,
)
from tablevault.names import DEFAULT_VERSION, new_process_id
from tablevault.progress import Bars

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import pandas as pd
    import pyarrow.dataset
    from rich.tree import Tree

    from tablevault.operations.maintenance import GcReport
    from tablevault.plans import ExecutionPlan, RefreshReport
    from tablevault.problems import Problem
    from tablevault.queries.diff import InstanceDiff
    from tablevault.queries.lineage import Lineage
    from tablevault.queries.processes import ActiveProcess
    from tablevault.queries.status import Status
    from tablevault.remotes.reports import PullReport, PushReport, RemoteGcReport


@checked_class
class TableVault:
    """A vault of tables, kept in a git repository.

    Every method that changes the vault is one operation, one commit, and returns its process id.
    It either happens wholly or not at all; an exception that a user's own function raises
    reaches the caller unchanged.

    Parameters
    ----------
    db_dir : str or Path
        Folder of the vault. Made absolute at once, so a later ``chdir`` changes nothing.
    author : str or None
        Author of all commits, ``Name`` or ``Name <email>``; none when None.
    description : str, default ""
        Summary of a new vault; ignored when a vault is opened.
    create : bool, default False
        Create an empty vault. An existing vault is replaced: if it holds instances, builders, code
        or other work, it is moved to a sibling, ``<name>.replaced-<UTC time>``, which the logger
        ``tablevault`` names. A file, or a folder that is neither empty nor a vault, is refused
        and not touched. A symbolic link stands for its target.
    restart : bool, default False
        Run every crashed process to its end; roll back those that cannot be run again.
    verbose : bool, default False
        Log to stderr what each operation does: when it begins, what it committed, how it ended. By
        the logger ``tablevault`` alone.
    parent_id : str, keyword only, default ""
        Process whose children all operations of this object are: they share what it holds. A
        function that a builder calls need not pass it, it is found by itself.
    lock_timeout : float, keyword only, default 10.0
        Seconds to wait for what another process holds.
    allow_secret : bool, keyword only, default False
        Keep `description` although something in it looks like a key; the commit names it.

    Raises
    ------
    TVArgumentError
        The folder is missing or no vault, or cannot be replaced.
    TVFormatError
        The vault was written by a newer release.
    TVLockError
        The vault to be replaced is in use.
    TVSecretError
        Something in `description` looks like a key.
    """

    def __init__(
        self,
        db_dir: str | os.PathLike[str],
        author: str | None,
        description: str = "",
        create: bool = False,
        restart: bool = False,
        verbose: bool = False,
        *,
        parent_id: str = "",
        lock_timeout: float = LOCK_TIMEOUT_S,
        allow_secret: bool = False,
    ) -> None:
        from tablevault.operations.vaults import attach
        from tablevault.remotes.fetch import fetch_object
        from tablevault.vault import Vault, absolute

        self._vault = attach(
            Vault(
                path=absolute(db_dir),
                author=author or "",
                parent=parent_id,
                lock_timeout_s=lock_timeout,
                verbose=verbose,
                progress=Bars,
                bring=fetch_object,
            ),
            description,
            create=create,
            restart=restart,
            allow_secret=allow_secret,
        )

    def __repr__(self) -> str:
        """Return which vault this is."""
        return f"TableVault({str(self._vault.path)!r}, {self._vault.author!r})"

    def _repr_html_(self) -> str:
        """Show tables and their latest instances in a notebook."""
        from tablevault.queries.describe import vault_html

        return vault_html(self._vault)

    # -- tables -------------------------------------------------------------------------------

    def create_table(
        self,
        table_name: str,
        allow_multiple_artifacts: bool = False,
        has_side_effects: bool = False,
        description: str = "",
        process_id: str = "",
        *,
        allow_secret: bool = False,
    ) -> str:
        """Create an empty table.

        Parameters
        ----------
        table_name : str
            1 to 100 of ``[A-Za-z0-9_-]``, not reserved, not taken.
        allow_multiple_artifacts : bool, default False
            Each instance keeps its artifacts for ever; else the table has one artifact folder,
            which a new instance with artifacts replaces.
        has_side_effects : bool, default False
            Running the builders invalidates what earlier instances describe: all of them are
            inactive from the moment the first function is called.
        description : str, default ""
            Summary of the table.
        process_id : str, default ""
            Id of the process; generated when empty.
        allow_secret : bool, keyword only, default False
            Keep `description` although something in it looks like a key; the commit names it.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            The name cannot be used or is taken.
        TVSecretError
            Something in `description` looks like a key.
        """
        from tablevault.operations.tables import CreateTable

        return CreateTable(
            table_name=table_name,
            allow_multiple_artifacts=allow_multiple_artifacts,
            has_side_effects=has_side_effects,
            description=description,
            allow_secret=allow_secret,
        ).run(self._vault, process_id)

    def rename_table(self, new_table_name: str, table_name: str, process_id: str = "") -> str:
        """Rename a table; instances, temporary ones too, and tags follow.

        Builders of other tables that name the old table are not rewritten: their next execution
        fails with an error that names the new one.

        Parameters
        ----------
        new_table_name : str
            New name, as for :meth:`create_table`.
        table_name : str
            Current name.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            There is no such table, or the new name cannot be used or is taken.
        """
        from tablevault.operations.tables import RenameTable

        return RenameTable(new_table_name=new_table_name, table_name=table_name).run(
            self._vault, process_id
        )

    def delete_table(self, table_name: str, process_id: str = "") -> str:
        """Delete a table with all its instances.

        Dataframes and artifacts that no other table needs are deleted for good. Descriptions,
        builders and code stay in history, and :meth:`get_descriptions` still finds them.

        Parameters
        ----------
        table_name : str
            The table.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            There is no such table.
        """
        from tablevault.operations.tables import DeleteTable

        return DeleteTable(table_name=table_name).run(self._vault, process_id)

    # -- instances ----------------------------------------------------------------------------

    def create_instance(
        self,
        table_name: str,
        version: str = DEFAULT_VERSION,
        origin_id: str = "",
        origin_table: str = "",
        external_edit: bool = False,
        copy: bool = False,
        builders: Sequence[str] | Mapping[str, str] | None = None,
        process_id: str = "",
        description: str = "",
        *,
        allow_secret: bool = False,
    ) -> str:
        """Create a temporary instance: a branch ``temp/<table>/<version>`` and a folder to edit.

        A temporary instance of the same version is replaced; its last state stays in history.

        Parameters
        ----------
        table_name : str
            The table.
        version : str, default "base"
            Label without ``_``, path separators and control characters.
        origin_id : str, default ""
            Instance to start from: its builders are copied, for an external edit its dataframe.
        origin_table : str, default ""
            Table of the origin, by default this table.
        external_edit : bool, default False
            The instance has no builders and is filled by :meth:`write_instance`.
        copy : bool, default False
            Without `origin_id`: start from the latest active instance of this version, else of
            any version; from nothing when the table has none.
        builders : list of str or dict of str to str, optional
            Names, which get templates, and paths that end in ``.yaml``; or a mapping from name
            to YAML text or path.
        process_id : str, default ""
            Id of the process; generated when empty.
        description : str, default ""
            Summary of the instance.
        allow_secret : bool, keyword only, default False
            Keep builders and `description` although something in them looks like a key; the
            commit names it.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            Unknown table or origin, a bad version, builders with `external_edit`.
        TVFileError
            A builder file is missing, or a name other than ``<table>_index`` ends in ``_index``.
        TVBuilderError
            A builder is no YAML mapping.
        TVSecretError
            Something in a builder or in `description` looks like a key.
        TVLockError
            The temporary instance is in use by another process.
        """
        from tablevault.operations.instances import CreateInstance

        return CreateInstance(
            table_name=table_name,
            version=version,
            origin_id=origin_id,
            origin_table=origin_table,
            external_edit=external_edit,
            copy=copy,
            builders=builders,
            description=description,
            allow_secret=allow_secret,
        ).run(self._vault, process_id)

    def write_instance(
        self,
        table_df: "pd.DataFrame",
        table_name: str,
        version: str = DEFAULT_VERSION,
        dependencies: Sequence[tuple[str, str | None]] | None = None,
        dtypes: Mapping[str, str] | None = None,
        process_id: str = "",
    ) -> str:
        """Materialise a dataframe as the instance of an external edit.

        Parameters
        ----------
        table_df : DataFrame
            Shape (n, m), n and m at least 1. The row index is dropped, column names become
            text, repeated names are numbered (``a``, ``a.1``). The frame is not changed.
        table_name : str
            The table.
        version : str, default "base"
            Version of the temporary instance to fill.
        dependencies : list of (table name, instance id), optional
            What the frame was made from; an empty id means the latest active instance.
        dtypes : dict of str to str, optional
            Column to dtype. The other columns keep theirs, numbers and text as nullable dtypes.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            No temporary instance made with ``external_edit``, an empty frame, an unknown column
            in `dtypes`, an unknown dependency.
        TVTableError
            A value does not fit its dtype or cannot be stored, an artifact is missing or is
            named by no value.
        """
        from tablevault.operations.instances import WriteInstance

        return WriteInstance(
            table_df=table_df,
            table_name=table_name,
            version=version,
            dependencies=dependencies,
            dtypes=dtypes,
        ).run(self._vault, process_id)

    def execute_instance(
        self,
        table_name: str,
        version: str = DEFAULT_VERSION,
        force_execute: bool = False,
        process_id: str = "",
        background: bool = False,
        accept_code: bool | None = None,
        sample: int | None = None,
        max_calls: int | None = None,
        max_cost: float | None = None,
        *,
        executor: "Executor | str | None" = None,
        allow_secret: bool = False,
    ) -> str:
        """Run the builders of a temporary instance and materialise the result.

        A function is called only for what no call has returned before, in whatever execution:
        calls are compared by the values of their arguments and by their code. Finished calls are
        kept when an execution fails, is interrupted or killed. An error while functions are
        called, or the end of the interpreter, *pauses* an execution with a `process_id`: the same
        call continues it, with the arguments of the first one.

        Parameters
        ----------
        table_name : str
            The table.
        version : str, default "base"
            Version of the temporary instance.
        force_execute : bool, default False
            Call functions for every cell, whatever was recorded.
        process_id : str, default ""
            Id of the process; generated when empty.
        background : bool, default False
            Return at once; another interpreter runs the execution, and continues when this one
            ends. Errors that are found before the first function is called are raised here if
            that takes no more than a few seconds. :meth:`get_active_processes` shows the progress,
            and the file with what it prints and raises. A paused execution continues in the
            background if this is set now or was in the first call.
        accept_code : bool, optional
            Whether results count that other code has returned for equal arguments. None, the
            default: only those of earlier attempts at this execution, since code is mostly
            corrected for the rows that failed. True: all; a change of code alone makes no call.
            False: none.
        sample : int, optional
            Make a trial: row-wise builders are called for the first so many rows only, and no
            instance is made. What they return can be read under the id ``TEMP_<version>``, see
            :meth:`get_dataframe`, and a later execution finds these calls. The index builder runs
            as usual. Functions that make whole columns at once are not called, nor those of rows
            that need such a column. The process ends with the trial.
        max_calls : int, optional
            How often functions of column builders may be called now, again after errors included;
            any number by default. It holds together with the limits of builders and vault.
        max_cost : float, optional
            What they may cost, in the currency that they report; any amount by default. More is
            spent by what the last call costs, since that is known afterwards.
        executor : Executor or str, keyword only, optional
            Where functions are called, by default in this process: any executor of
            ``concurrent.futures``, such as a ``ProcessPoolExecutor``, one of loky, or
            ``Client.get_executor()`` of Dask, which stays open; or the name of one that is made for
            this execution: ``"threads:8"``, ``"processes:8"``, ``"dask://host:port"``. A builder
            that names one in its field ``executor`` uses that. Workers need this package and what
            the functions import, not the vault. A paused execution continues on the executor that
            the call names that continues it, else on that of the first call if it was given by
            name.
        allow_secret : bool, keyword only, default False
            Keep builders and code that were edited by hand although something in them looks like
            a key; the commit names it.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            No temporary instance, or one made with ``external_edit``; `sample` is less than 1, or
            comes with the id of a paused execution of all rows.
        TVBuilderError
            A builder is malformed, one is missing, they form a cycle, or a function returned
            what its builder does not promise.
        TableReferenceError
            A table reference is malformed or cannot be evaluated.
        TVFileError
            A module or function is missing or cannot be loaded.
        TVSecretError
            Something in a file that was edited by hand looks like a key.
        TVTableError
            A value does not fit its dtype, a primary key is null or not unique, an artifact is
            missing or named by no value.
        TVProcessError
            The id was used before, or runs just now; the background cannot be had.
        TVExecutorError
            The executor is shut down, has lost calls or its workers run another release, or the
            scheduler cannot be reached. Finished calls are kept.
        TVBudgetError
            One more call would exceed `max_calls`, `max_cost`, or a budget of the builder or of the
            vault. The execution ends as after any error, what is finished is kept.
        Exception
            What a function raised, unchanged; not from the background.
        """
        from tablevault.operations.execute import ExecuteInstance

        return ExecuteInstance(
            table_name=table_name,
            version=version,
            force_execute=force_execute,
            background=background,
            accept_code=accept_code,
            sample=sample,
            max_calls=max_calls,
            max_cost=max_cost,
            executor=executor if isinstance(executor, str) else "",
            pool=None if isinstance(executor, str) else executor,
            allow_secret=allow_secret,
        ).run(self._vault, process_id)

    def plan(
        self,
        table_name: str,
        version: str = DEFAULT_VERSION,
        *,
        run_index: bool = False,
        force_execute: bool = False,
        accept_code: bool | None = None,
        process_id: str = "",
    ) -> "ExecutionPlan":
        """Return what :meth:`execute_instance` would call now, and why; nothing changes.

        No function of a column builder is called. Modules are imported, and all is checked that
        an execution checks before its first call. Where a builder reads what another one would
        make, its calls are "at most" so many.

        Parameters
        ----------
        table_name : str
            The table.
        version : str, default "base"
            Version of the temporary instance.
        run_index : bool, default False
            Call the index builder, unless a paused process has its rows; files that it writes go
            into a folder that is removed. Otherwise the plan is for the rows that the last attempt
            at the execution made, or else for those of the instance that it would start from, and
            says so.
        force_execute : bool, default False
            As the execution would get it.
        accept_code : bool, optional
            As the execution would get it.
        process_id : str, default ""
            As the execution would get it. Without one the plan is for the paused process that holds
            the temporary instance, if there is one.

        Returns
        -------
        ExecutionPlan
            For each builder the number of calls, the rows whose results are there, the reason, and
            time and cost as predicted from earlier calls; ``str`` shows it.

        Raises
        ------
        TVArgumentError
            No temporary instance, or one made with ``external_edit``.
        TVBuilderError
            A builder is malformed, one is missing, they form a cycle, or nobody can know whether
            results of an earlier prompt count.
        TableReferenceError
            A table reference is malformed or cannot be evaluated.
        TVFileError
            A module or function is missing or cannot be loaded.
        TVProcessError
            The id was used before.
        Exception
            What the function of an index builder raised, unchanged.
        """
        from tablevault.operations.plan import PlanOptions, plan

        return plan(
            self._vault,
            table_name,
            version,
            options=PlanOptions(
                run_index=run_index, force_execute=force_execute, accept_code=accept_code
            ),
            process_id=process_id,
        )

    def status(self) -> "Status":
        """Return which tables are up to date or stale, and why, and temporary instances.

        Only the latest instance of each version of each table is checked. It is stale when what
        it read holds something else now, when code or builders have changed, or when rows of it
        failed: the reasons are those of an execution. No function is called, no module is imported,
        nothing is locked or changed. What an index builder reads outside of the vault, such as a
        file, cannot be seen.

        Returns
        -------
        Status
            For each version of each table state and reasons; ``str`` shows it.
        """
        from tablevault.queries.status import status

        return status(self._vault)

    def refresh(
        self,
        tables: str | Sequence[str] | None = None,
        *,
        dry_run: bool = False,
        accept_code: bool | None = None,
        max_calls: int | None = None,
        max_cost: float | None = None,
    ) -> "RefreshReport":
        """Execute stale tables again, in the order of their dependencies.

        An instance that is stale by :meth:`status` gets a successor of the same version: its
        builders are copied into a temporary instance, which is executed; an existing temporary
        instance is executed unchanged. As in any execution, functions are called only for what no
        call has returned before. Tables that read a refreshed one are checked after it: if its
        content is the same, they are not executed. A table that fails stops those that read it,
        not the rest; its temporary instance stays, with its finished calls.

        Parameters
        ----------
        tables : str or list of str, optional
            Tables to refresh, such as "reviews" or, for one version, "reviews/base"; stale tables
            that these read are refreshed first. By default all.
        dry_run : bool, keyword only, default False
            Change nothing, and return what would be executed. Index builders are called, since
            they make the rows, except for tables with side effects; no others are. The numbers are
            exact where the inputs are known, also those that other tables will hold; otherwise
            they are upper bounds.
        accept_code : bool, keyword only, optional
            As for :meth:`execute_instance`: with True a change of code alone makes no call.
        max_calls : int, keyword only, optional
            How often functions of column builders may be called for all tables together, as for
            :meth:`execute_instance`. The table that needs one more fails, and tables that are
            still stale are left. A dry run returns what everything takes.
        max_cost : float, keyword only, optional
            What the calls may cost together, likewise.

        Returns
        -------
        RefreshReport
            Tables that were or would be executed, with calls, time and cost; ``str`` shows it.
            Calls of index builders are not counted.

        Raises
        ------
        TVArgumentError
            There is no such table; `max_calls` or `max_cost` is negative.
        TVTableError
            A table that is named has no instance.
        TVRefreshError
            Tables failed. The text names them with reasons, the tables left because of them, and
            the refreshed ones. Exceptions of functions are the cause.
        """
        from tablevault.operations.refresh import RefreshOptions, refresh

        return refresh(
            self._vault,
            tables,
            options=RefreshOptions(
                dry_run=dry_run, accept_code=accept_code, max_calls=max_calls, max_cost=max_cost
            ),
        )

    def delete_instance(self, instance_id: str, table_name: str, process_id: str = "") -> str:
        """Delete a materialised or temporary instance.

        Its dataframe and artifacts are deleted for good unless another instance needs them; its
        description, builders and code stay in history.

        Parameters
        ----------
        instance_id : str
            The instance; ``TEMP_<version>`` for a temporary one.
        table_name : str
            Its table.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            There is no such table or instance.
        TVLockError
            A running process reads the instance.
        """
        from tablevault.operations.instances import DeleteInstance

        return DeleteInstance(instance_id=instance_id, table_name=table_name).run(
            self._vault, process_id
        )

    # -- code and builders --------------------------------------------------------------------

    def create_code_module(
        self,
        module_name: str = "",
        copy_dir: str | os.PathLike[str] = "",
        process_id: str = "",
        *,
        text: str = "",
        allow_secret: bool = False,
    ) -> str:
        """Write code modules, ``code/<module>.py``.

        Parameters
        ----------
        module_name : str, default ""
            A Python identifier. May be empty when `copy_dir` is given.
        copy_dir : str or Path, default ""
            A ``.py`` file, or a folder whose ``.py`` files are copied.
        process_id : str, default ""
            Id of the process; generated when empty.
        text : str, keyword only, default ""
            Text of the module. With neither text nor `copy_dir` a new module gets a docstring,
            and one that is there is left as it is.
        allow_secret : bool, keyword only, default False
            Keep the code although something in it looks like a key; the commit names it.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            Neither `module_name` nor `copy_dir`, or the name is no identifier.
        TVFileError
            `copy_dir` is missing, or neither a folder nor a ``.py`` file.
        TVSecretError
            Something in a text looks like a key.
        """
        from tablevault.operations.code_and_builders import CreateCodeModule

        return CreateCodeModule(
            module_name=module_name, copy_dir=str(copy_dir), text=text, allow_secret=allow_secret
        ).run(self._vault, process_id)

    def delete_code_module(self, module_name: str, process_id: str = "") -> str:
        """Delete a code module; instances that it made keep it in history.

        Parameters
        ----------
        module_name : str
            The module.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVFileError
            There is no such module.
        """
        from tablevault.operations.code_and_builders import DeleteCodeModule

        return DeleteCodeModule(module_name=module_name).run(self._vault, process_id)

    def create_builder_file(
        self,
        table_name: str,
        builder_name: str = "",
        version: str = DEFAULT_VERSION,
        copy_dir: str | os.PathLike[str] = "",
        process_id: str = "",
        *,
        text: str = "",
        allow_secret: bool = False,
    ) -> str:
        """Write builders into a temporary instance.

        Parameters
        ----------
        table_name : str
            The table.
        builder_name : str, default ""
            Name of the builder, by default ``<table>_index``.
        version : str, default "base"
            Version of the temporary instance.
        copy_dir : str or Path, default ""
            A ``.yaml`` file, or a folder whose ``.yaml`` files are copied.
        process_id : str, default ""
            Id of the process; generated when empty.
        text : str, keyword only, default ""
            YAML of the builder; a template is written when both are empty.
        allow_secret : bool, keyword only, default False
            Keep builders although something in them looks like a key; the commit names it.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            No temporary instance, or one made with ``external_edit``.
        TVFileError
            `copy_dir` is missing or of another kind, or a foreign ``*_index`` name.
        TVBuilderError
            The text is no YAML mapping.
        TVSecretError
            Something in a text looks like a key.
        """
        from tablevault.operations.code_and_builders import CreateBuilderFile

        return CreateBuilderFile(
            table_name=table_name,
            builder_name=builder_name,
            version=version,
            copy_dir=str(copy_dir),
            text=text,
            allow_secret=allow_secret,
        ).run(self._vault, process_id)

    def delete_builder_file(
        self,
        builder_name: str,
        table_name: str,
        version: str = DEFAULT_VERSION,
        process_id: str = "",
    ) -> str:
        """Delete a builder from a temporary instance.

        Parameters
        ----------
        builder_name : str
            The builder.
        table_name : str
            The table.
        version : str, default "base"
            Version of the temporary instance.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            There is no such table or temporary instance.
        TVFileError
            There is no such builder.
        """
        from tablevault.operations.code_and_builders import DeleteBuilderFile

        return DeleteBuilderFile(
            builder_name=builder_name, table_name=table_name, version=version
        ).run(self._vault, process_id)

    # -- configuration ------------------------------------------------------------------------

    def get_config(self, key: str = "") -> object:
        """Return limits and prices of calls that are set for the whole vault.

        Parameters
        ----------
        key : str, default ""
            One of them, named as for `set_config`; all when empty.

        Returns
        -------
        int, float, str, dict or None
            None for what is not set. Without a key ``{"limits": {...}, "prices": {...}}``.

        Raises
        ------
        TVArgumentError
            No setting has that name.
        TVFileError
            ``vault.yaml`` was edited by hand, and has a value that its setting cannot have.
        """
        from tablevault.operations.config import get_config

        return get_config(self._vault, key)

    def set_config(
        self, key: str, value: Mapping[str, object] | str | float | None, process_id: str = ""
    ) -> str:
        """Set a limit or a price of calls for the whole vault; it is kept in ``vault.yaml``.

        Parameters
        ----------
        key : str
            ``limits.calls_per_minute``, ``limits.tokens_per_minute``, ``limits.calls``,
            ``limits.cost`` or ``limits.name``; ``prices.MODEL`` with the name of a model, which may
            have dots and slashes, or one field of it, ``prices.MODEL.input``,
            ``prices.MODEL.output`` or ``prices.MODEL.batch``; ``limits`` or ``prices`` for all of
            them.
        value : int, float, str, dict or None
            For ``prices.MODEL`` a dict with the keys ``input`` and ``output``: what a million
            tokens cost; and ``batch``, default 1: the share of both that they cost in a batch of
            the provider. None removes what is set.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id.

        Raises
        ------
        TVArgumentError
            No setting has that name, it cannot have that value, or a price is removed that is not
            there.
        TVFileError
            ``vault.yaml`` was edited by hand, and has a value that its setting cannot have.
        TVLockError
            Another process sets something, too, and does not end.
        TVProcessError
            The process id was used before.
        """
        from tablevault.operations.config import SetConfig

        return SetConfig(changes={key: value}).run(self._vault, process_id)

    # -- processes ----------------------------------------------------------------------------

    def generate_process_id(self) -> str:
        """Return a random process id, a version 4 UUID; nothing is registered."""
        return new_process_id()

    def stop_process(
        self,
        to_stop_process_id: str,
        force: bool = False,
        materialize: bool = False,
        process_id: str = "",
    ) -> str:
        """Stop a running or paused process, with all its children.

        What it did is taken back, and its id is never used again. An execution leaves its
        temporary instance, which shows the rows so far until it is executed anew.

        Parameters
        ----------
        to_stop_process_id : str
            The process.
        force : bool, default False
            End it although it runs. In this interpreter it stops between two rows; a function
            that runs is waited for up to the lock time-out, and the process ends as soon as it
            returns. Another operating system process is ended, with all else that it does: at
            first by SIGTERM, after five seconds by SIGKILL.
        materialize : bool, default False
            Make an instance of the rows that an execution has computed so far or keeps of earlier
            instances, null elsewhere. It is active but not successful, and keeps its artifacts,
            which are not checked, for itself. Ignored for a process that has made no rows.
        process_id : str, default ""
            Id of the process; generated when empty.

        Returns
        -------
        str
            The process id of this operation.

        Raises
        ------
        TVProcessError
            There is no such process, or it has ended. It runs, and `force` is False. A function
            in this interpreter does not return in time. Nothing proves which operating system
            process runs it (no one is ended by mistake).
        TVArgumentError
            It runs within another process, or is itself a ``stop_process``.
        """
        from tablevault.operations.processes import StopProcess

        return StopProcess(
            to_stop_process_id=to_stop_process_id, force=force, materialize=materialize
        ).run(self._vault, process_id)

    def undo(self, process_id: str, *, undo_process_id: str = "") -> str:
        """Undo one operation, by a new commit; history keeps both.

        Only what the operation changed is reverted: if it was an execution, its temporary instance
        exists again, and the instance that it made is gone. An undo can be undone.

        Parameters
        ----------
        process_id : str
            The operation: the id that it returned, the trailer ``Vault-Process`` of its commit.
        undo_process_id : str, keyword only, default ""
            Id of this process; generated when empty.

        Returns
        -------
        str
            The process id of this operation.

        Raises
        ------
        TVArgumentError
            There is no such process.
        TVProcessError
            Nothing is changed, because the operation

            - was undone already, has not ended, or left no commit;
            - is not the last one to change something: the error names the later one (facts
              ``blocking``, ``operation``, ``author``, ``at``), which has to be undone first;
            - was an execution whose functions used the vault: they are named, and have to be
              undone first;
            - deleted something whose dataframes or artifacts are gone for good.
        TVLockError
            Something that would change is held by another process for too long.
        """
        from tablevault.operations.undo import Undo

        return Undo(process_id=process_id).run(self._vault, undo_process_id)

    def get_active_processes(self) -> "Mapping[str, ActiveProcess]":
        """Return the processes that have not ended, by id, oldest first.

        Returns
        -------
        mapping of str to ActiveProcess
            Each is a read-only mapping that gives its items as attributes, too: ``process_id``,
            ``operation``, ``author``, ``parent_id``, ``start_time`` and ``log_time`` (Unix s, the
            latter of the last change), ``complete_steps`` and ``step_times``, ``data`` (arguments
            and plan), ``resources`` (what it holds), ``start_success`` (true: it is not listed
            before), ``execution_success`` (false when it failed and is paused, else None),
            ``error`` (class name and text), ``pid``, ``force_takedown`` (an error ends it, since
            no id was given), ``is_running``, ``rows`` (finished rows of each builder of an
            execution), ``errors`` (rows that failed and have no result) and ``cost`` of builders
            that have any, and ``log`` (file with what an execution in the background printed).
            Its ``str`` is JSON.
        """
        from tablevault.queries.processes import active

        return active(self._vault)

    def get_process_completion(self, process_id: str) -> bool:
        """Return whether a process has ended, in whatever way; False for an unknown id."""
        from tablevault.queries.processes import is_complete

        return is_complete(self._vault, process_id)

    # -- reading ------------------------------------------------------------------------------

    def get_dataframe(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = DEFAULT_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
        rows: int | None = None,
        full_artifact_path: bool = True,
        *,
        columns: Sequence[str] | None = None,
    ) -> "tuple[pd.DataFrame, str]":
        """Read the dataframe of an instance.

        Parameters
        ----------
        table_name : str
            The table.
        instance_id : str, default ""
            The instance, whether active or not; ``TEMP_<version>`` for a temporary one. When
            empty the latest instance of `version` is taken.
        version : str, default "base"
            Version to take the latest of; any version when "".
        active_only, successful_only : bool, default True and False
            What the latest instance must be.
        rows : int, optional
            First rows only, at least 0; all by default. No more is read than needed.
        full_artifact_path : bool, default True
            In ``artifact_string`` columns give absolute paths, "" where missing; else the
            relative names as they are stored.
        columns : sequence of str, keyword only, optional
            Columns to read, in this order; all by default.

        Returns
        -------
        DataFrame
            Shape (min(rows, n), number of columns), RangeIndex, dtypes as they were stored.
        str
            Id of the instance.

        Raises
        ------
        TVArgumentError
            There is no such table.
        TVTableError
            No such instance, an unknown column, negative `rows`.
        """
        from tablevault.queries.dataframe import FrameQuery, get_dataframe

        return get_dataframe(
            self._vault,
            FrameQuery(
                table_name=table_name,
                instance_id=instance_id,
                version=version,
                active_only=active_only,
                successful_only=successful_only,
                columns=columns,
                rows=rows,
                full_artifact_path=full_artifact_path,
            ),
        )

    def get_calls(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = DEFAULT_VERSION,
        outcome: str = "",
    ) -> "pd.DataFrame":
        """Return the calls of an instance, one row for each, failed ones included.

        Parameters
        ----------
        table_name : str
            The table.
        instance_id : str, default ""
            The instance, whether active or not. ``TEMP_<version>`` for a temporary one: the calls
            of the execution that runs, is paused or has failed. When empty the latest active
            instance of `version` is taken.
        version : str, default "base"
            Version to take the latest of; any version when "".
        outcome : str, default ""
            ``"ok"`` leaves out calls that failed, ``"error"`` the others: what failed has the
            outcome ``error`` or ``rejected``. All when empty.

        Returns
        -------
        DataFrame
            By builder and row, oldest first; RangeIndex; ``attrs["instance_id"]`` is the instance.

            - ``builder`` : string; ``@module.function`` for one with :func:`tablevault.cached`.
            - ``row`` : Int64, position in the instance; null for a call that belongs to no row.
            - The primary key, in columns of their own; ``key.<name>`` where the name is taken.
            - ``outcome`` : string, ``ok``, ``error`` (the function raised) or ``rejected`` (a
              value did not fit).
            - ``made_in`` : string, id of the instance that held it first: another one where the
              call was reused. Null as long as no instance holds it.
            - ``started_at`` : datetime64[us, UTC], and ``duration_s`` : Float64, seconds. An
              instance keeps them of calls that took a millisecond, else they are null.
            - ``error`` : string, class and text of what was raised.
            - ``process`` : string, id of the process that made it.
            - ``module``, ``function``, ``code`` : string, what was called, and the digest of all
              code that it uses, as hexadecimal digits.
            - ``gen_ai.request.model`` : string, ``gen_ai.usage.input_tokens``,
              ``gen_ai.usage.output_tokens`` : Int64, and ``cost`` : Float64, as reported by
              :func:`tablevault.report_usage`.
            - ``attempts`` : Int64, how often the function was called for it, again after errors.

        Raises
        ------
        TVArgumentError
            There is no such table, or no such instance in it.
        TVTableError
            There is no instance yet.
        """
        from tablevault.queries.calls import get_calls

        return get_calls(self._vault, table_name, instance_id, version, outcome=outcome)

    def get_dataset(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = DEFAULT_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
    ) -> "pyarrow.dataset.Dataset":
        """Open the dataframe of a materialised instance as an Arrow dataset, without a copy.

        Parameters are those of :meth:`get_dataframe`.

        Returns
        -------
        pyarrow.dataset.Dataset
            Over the one Parquet file of the instance.

        Raises
        ------
        TVArgumentError
            There is no such table.
        TVTableError
            There is no such instance.
        """
        from tablevault.queries.dataframe import FrameQuery, get_dataset

        return get_dataset(
            self._vault,
            FrameQuery(
                table_name=table_name,
                instance_id=instance_id,
                version=version,
                active_only=active_only,
                successful_only=successful_only,
            ),
        )

    def get_table_instances(
        self, table_name: str = "", version: str = DEFAULT_VERSION, *, include_temp: bool = False
    ) -> list[str]:
        """List instance ids in the order of materialisation, inactive ones included.

        Parameters
        ----------
        table_name : str, default ""
            The table; when empty, all table names are listed in the order of creation.
        version : str, default "base"
            Version, compared as a whole; all versions when "".
        include_temp : bool, keyword only, default False
            Append the ids of temporary instances.

        Returns
        -------
        list of str
            Ids, or table names.

        Raises
        ------
        TVArgumentError
            There is no such table.
        """
        from tablevault.queries.describe import table_instances

        return table_instances(self._vault, table_name, version, include_temp=include_temp)

    def get_descriptions(self, instance_id: str = "", table_name: str = "") -> dict[str, object]:
        """Describe the vault, a table, or an instance; deleted tables and instances, too.

        Parameters
        ----------
        instance_id : str, default ""
            A permanent id, found in whatever table it is, or a temporary one with its table.
        table_name : str, default ""
            The table.

        Returns
        -------
        dict
            For the vault ``summary``; for a table ``summary``, ``multiple_artifacts``,
            ``side_effects``; for an instance ``summary``, ``origin`` (id, table),
            ``external_edit``, and once materialised ``success``, ``author``, ``dependencies``
            (pairs of table and id), ``rows``, ``dtypes`` and others.

        Raises
        ------
        TVArgumentError
            There is, and was, no such table or instance.
        """
        from tablevault.queries.describe import descriptions

        return descriptions(self._vault, instance_id, table_name)

    def get_file_tree(
        self,
        instance_id: str = "",
        table_name: str = "",
        code_files: bool = True,
        builder_files: bool = True,
        metadata_files: bool = False,
        artifact_files: bool = False,
    ) -> "Tree":
        """Return the files of the vault, a table or an instance as a tree.

        Parameters
        ----------
        instance_id : str, default ""
            The instance; needs `table_name`.
        table_name : str, default ""
            The table.
        code_files, builder_files : bool, default True
            Show code modules and builders.
        metadata_files, artifact_files : bool, default False
            Show the documents of the vault, and artifacts.

        Returns
        -------
        rich.tree.Tree
            Prints in a terminal and in a notebook.

        Raises
        ------
        TVArgumentError
            There is no such table or instance.
        """
        from tablevault.queries.describe import Shown, file_tree
        from tablevault.render import tree

        return tree(
            file_tree(
                self._vault,
                instance_id,
                table_name,
                Shown(
                    code_files=code_files,
                    builder_files=builder_files,
                    metadata_files=metadata_files,
                    artifact_files=artifact_files,
                ),
            )
        )

    def log(
        self, table_name: str = "", instance_id: str = "", limit: int | None = None
    ) -> "pd.DataFrame":
        """Return the operations of the vault, newest first.

        Operations that failed leave no commit; this machine remembers the latest of them. What
        other clones tried in vain is not known here.

        Parameters
        ----------
        table_name : str, default ""
            Only operations on this table, under whatever name it had then; all when empty. A
            table that was deleted is found by its last name.
        instance_id : str, default ""
            Only what is about this instance: how it was prepared and made, whether it was made
            inactive, and its deletion. Needs `table_name`.
        limit : int, optional
            At most so many rows, at least 0; all when None.

        Returns
        -------
        pandas.DataFrame
            One row an operation, and one a commit made with plain git; RangeIndex from 0.
            Texts are "" where there is nothing to say.

            ============= ==================== ==================================================
            column        dtype
            ============= ==================== ==================================================
            time          datetime64[us, UTC]  when it ended; to the second for plain commits
            operation     string               method that was called; ``edit_by_hand`` for code
                                               that an operation found edited, ``commit`` for
                                               plain git
            table_name    string               name of the table then
            version       string
            instance_id   string               the instance made or deleted, or ``TEMP_<version>``
            rows          Int64                rows of the instance that was made
            success       bool                 False when it failed, or its instance is partial
            error         string               class and text of the error
            author        string
            duration      timedelta64[us]      from the start of the process, pauses included
            subject       string               first line of the commit message
            process_id    string
            parent_id     string               process within which it was called
            commit        string               full id of the commit
            ============= ==================== ==================================================

        Raises
        ------
        TVArgumentError
            There never was such a table or instance, an instance is named without its table, or
            `limit` is no number of rows.
        """
        from tablevault.queries.log import log

        return log(self._vault, table_name, instance_id, limit)

    def diff(
        self, table_name: str, instance_id: str, other_instance_id: str = ""
    ) -> "InstanceDiff":
        """Return what changed from one instance of a table to another.

        Rows are compared by primary key. Without one, rows of the same content are the same row;
        of the others, those between the same neighbours are one row that changed, unless all its
        cells did. Nulls are equal to nulls, NaN to NaN, and neither to the other.

        Parameters
        ----------
        table_name : str
            The table.
        instance_id : str
            The instance after.
        other_instance_id : str, default ""
            The instance before, of any version; by default the one before in the same version.

        Returns
        -------
        InstanceDiff
            ``added`` and ``removed`` (rows, with the columns of their instance), ``changed``
            (cells: ``column``, ``old``, ``new``), columns, builders and code as unified diffs,
            dependencies, artifacts, description; ``is_empty``. Prints, also in a notebook.

        Raises
        ------
        TVArgumentError
            There is no such table or instance, or none before it.
        TVTableError
            A dataframe is damaged.
        """
        from tablevault.queries.diff import diff

        return diff(self._vault, table_name, instance_id, other_instance_id)

    def lineage(self, table_name: str, instance_id: str = "") -> "Lineage":
        """Return the sources of instances, and what was made from them, direct and indirect.

        Parameters
        ----------
        table_name : str
            The table, under its name of today; one that was deleted under its last name.
        instance_id : str, default ""
            The instance, also one that was deleted; by default all that the table has.

        Returns
        -------
        Lineage
            ``nodes`` (instances, deleted ones too) and ``edges``, without circles. Prints as a
            tree, draws itself in a notebook; ``to_frame()``, ``to_mermaid()``,
            ``to_openlineage()``.

        Raises
        ------
        TVArgumentError
            There never was such a table or instance.
        """
        from tablevault.queries.lineage import lineage

        return lineage(self._vault, table_name, instance_id)

    def report(
        self, path: str | os.PathLike[str], table_name: str = "", *, force: bool = False
    ) -> str:
        """Write a report about the vault: one HTML file that needs nothing else.

        It shows the tables, their instances over time, and their lineage; and for the latest
        instances builders, code, row counts, reuse, duration, author, first rows, and the
        difference from the one before. It contains text and cells of the vault: everybody who gets
        the file can read them. Nothing is fetched: a missing dataframe shows no rows.

        Parameters
        ----------
        path : str or Path
            The file. An existing report is replaced.
        table_name : str, default ""
            One table, with its sources and what was made from it; by default all.
        force : bool, keyword only, default False
            Replace `path` whatever file it is.

        Returns
        -------
        str
            Absolute path of the file.

        Raises
        ------
        TVArgumentError
            There is no such table; the folder of `path` is not there, or `path` is a folder, or
            a file that is no report.
        TVFileError
            The file cannot be written.
        """
        from tablevault.cli.errors import at_prompt
        from tablevault.report.page import write_page

        return str(write_page(self._vault, path, table_name, at_prompt(), force=force))

    def get_artifact_folder(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = DEFAULT_VERSION,
        is_temp: bool = True,
    ) -> str:
        """Return the folder of artifacts of an instance.

        Parameters
        ----------
        table_name : str
            The table.
        instance_id : str, default ""
            The instance. When empty: the temporary one of `version`, or with ``is_temp=False``
            the latest active one.
        version : str, default "base"
            The version.
        is_temp : bool, default True
            Whether a temporary instance is meant when no id is given.

        Returns
        -------
        str
            An absolute path that exists. Of a temporary instance it is the place to put files.

        Raises
        ------
        TVArgumentError
            There is no such table or instance.
        TVTableError
            No instance of that version is active.
        """
        from tablevault.queries.dataframe import artifact_folder

        return artifact_folder(self._vault, table_name, instance_id, version, is_temp=is_temp)

    def get_builders_list(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = DEFAULT_VERSION,
        is_temp: bool = True,
    ) -> list[str]:
        """List the builders of an instance, sorted; arguments as :meth:`get_artifact_folder`.

        Raises
        ------
        TVArgumentError
            There is no such table or instance.
        TVTableError
            No instance of that version is active.
        """
        from tablevault.queries.describe import builders_list

        return builders_list(self._vault, table_name, instance_id, version, is_temp=is_temp)

    def get_builder_str(
        self,
        table_name: str,
        builder_name: str = "",
        instance_id: str = "",
        version: str = DEFAULT_VERSION,
        is_temp: bool = True,
    ) -> str:
        """Return the text of a builder, by default of ``<table>_index``.

        The other arguments are those of :meth:`get_artifact_folder`.

        Raises
        ------
        TVArgumentError
            There is no such table or instance.
        TVFileError
            There is no such builder.
        TVTableError
            No instance of that version is active.
        """
        from tablevault.queries.describe import builder_text

        return builder_text(
            self._vault, table_name, builder_name, instance_id, version, is_temp=is_temp
        )

    # -- sharing ------------------------------------------------------------------------------

    def add_remote(
        self, name: str, url: str | os.PathLike[str], *, data: str = "", endpoint_url: str = ""
    ) -> None:
        """Add a remote by name and address, as ``git remote add`` does.

        Parameters
        ----------
        name : str
            Such as "origin". Adding the same address once more changes nothing.
        url : str or Path
            A path, made absolute, or an address as for :func:`clone_vault`.
        data : str, keyword only, default ""
            Bucket for dataframes and artifacts, ``s3://bucket/prefix``; by default they go where
            the history goes. One commit writes it to ``.lfsconfig``, so that clones find it. You
            confirm it for this vault, as :meth:`trust_bucket` does. Needs ``tablevault[s3]``.
        endpoint_url : str, keyword only, default ""
            URL of the S3-compatible service that has the bucket, by default AWS. It becomes part of
            the address of the bucket, ``s3://bucket/prefix?endpoint=URL``.

        Raises
        ------
        TVArgumentError
            The name is taken by another address, or cannot be used; `data` is not the address of a
            bucket.
        """
        from tablevault.remotes.remote_settings import add_remote

        add_remote(self._vault, name, url, data=data, endpoint_url=endpoint_url)

    def trust_bucket(self, url: str) -> None:
        """Confirm that data may be sent to a bucket, and read from there.

        Whoever may push can name a bucket in the history of a vault. This vault uses it only after
        this call, which notes it in the git configuration.

        Parameters
        ----------
        url : str
            Address as the error names it, ``s3://bucket/prefix?endpoint=URL``.

        Raises
        ------
        TVArgumentError
            It is not the address of a bucket.
        """
        from tablevault.remotes.remote_settings import trust_bucket

        trust_bucket(self._vault.path, url)

    def push(self, remote: str = "origin", *, temp: bool = False) -> "PushReport":
        """Push to a remote: objects, then ``main`` and the tags of instances.

        Parameters
        ----------
        remote : str, default "origin"
            Name of a remote, or an address.
        temp : bool, keyword only, default False
            Push the branches of temporary instances, too.

        Returns
        -------
        PushReport
            What was pushed; says it in a sentence when printed.

        Raises
        ------
        TVRemoteError
            There is no such remote, it cannot be reached or refuses, holds another vault, or has
            what this vault has not: pull first.
        TVOutcomeUnknownError
            The connection was lost at the last step: it is not known whether it took place.
        """
        from tablevault.remotes.push import push

        return push(self._vault, remote, temp=temp)

    def pull(
        self,
        remote: str = "origin",
        *,
        data: str = "lazy",
        resolve: Mapping[str, str] | None = None,
    ) -> "PullReport":
        """Fetch the commits of a remote, and merge them with those of this vault.

        Instances of both sides are kept, the later one is the latest. A table's settings are
        merged field by field, code by text. Temporary instances stay. Other processes may go on,
        but for those that work on a table which is renamed or deleted there: these end first.

        Parameters
        ----------
        remote : str, default "origin"
            Name of a remote, or an address.
        data : str, keyword only, default "lazy"
            "lazy" or "all", as for :func:`clone_vault`.
        resolve : dict of str to str, keyword only, optional
            Path, as a conflict names it, to "ours" or "theirs".

        Returns
        -------
        PullReport
            What was taken over; says it in a sentence when printed.

        Raises
        ------
        TVRemoteError
            There is no such remote, it cannot be reached, holds no vault or another one, or what
            no vault holds; or both sides changed the same, then the text names each conflict and
            the way out. Nothing has changed here.
        TVLockError
            A process works on a table that is renamed or deleted there, or is paused on it.
        """
        from tablevault.remotes.pull import pull

        return pull(self._vault, remote, data=data, resolve=resolve)

    # -- texts --------------------------------------------------------------------------------

    def get_code_modules_list(self) -> list[str]:
        """List the code modules, without ending, sorted."""
        from tablevault.queries.describe import code_modules

        return code_modules(self._vault)

    def get_code_module_str(self, module_name: str) -> str:
        """Return the text of a code module.

        Raises
        ------
        TVFileError
            There is no such module.
        """
        from tablevault.queries.describe import code_text

        return code_text(self._vault, module_name)

    # -- upkeep -------------------------------------------------------------------------------

    def verify(
        self, *, data: bool = True, repair: bool = False, remote: str = ""
    ) -> "list[Problem]":
        """Check the vault, and repair what can be repaired if wanted.

        Checked are: every git object and everything that refs reach; refs and tags; the
        objects of all instances that are not deleted, and rows, columns and dtypes of their
        dataframes; the derived index; working tree and git's index; folders of temporary
        instances; crashed processes; settings of git; leftovers. Others may work in the vault
        meanwhile. Nothing that the vault contains is run.

        Parameters
        ----------
        data : bool, keyword only, default True
            Read every object and compare its sha256, in several threads. Without, objects are
            only looked for, and their sizes compared.
        repair : bool, keyword only, default False
            Derive again what follows from history: index, tags, working tree, temporary folders,
            settings, and objects of which an identical file lies in the vault. Whatever is
            replaced is moved to ``.git/tablevault/quarantine/`` or ``.git/lfs/bad/``.
        remote : str, keyword only, default ""
            Name or address of a remote that is asked for the objects of all that its branches and
            tags serve, as far as their commits are here. Nothing is sent: the next :meth:`push`
            sends what is missing there and here. With `data` the objects of a repository on this
            machine are read, too.

        Returns
        -------
        list of Problem
            The worst first, empty when nothing is wrong. Repaired problems are included, with
            ``repaired=True``. Each has ``kind``, ``severity``, ``where``, ``text``, ``advice``.

        Raises
        ------
        TVRemoteError
            There is no such remote, or it cannot be reached.
        """
        from tablevault.operations.maintenance import verify
        from tablevault.remotes.remote_objects import add_remote_problems

        return add_remote_problems(
            self._vault, remote, verify(self._vault, data=data, repair=repair), data=data
        )

    def gc(
        self,
        *,
        grace_s: float = GC_GRACE_DAYS * 24 * 3600.0,
        calls_older_than_days: float = float(CALLS_KEPT_DAYS),
        dry_run: bool | None = None,
        remote: str = "",
    ) -> "GcReport | RemoteGcReport":
        """Remove objects that nothing needs, and repack git objects; or those of a remote.

        It removes objects that no instance, no temporary instance, nothing else in history, no
        process and no record of a call needs; temporary files of crashed processes; results of
        calls that no instance and no temporary instance holds; quarantined files of repairs; and,
        only while no process runs or waits, git objects that no ref, no reflog and no index
        reaches. Others may work in the vault meanwhile.

        Parameters
        ----------
        grace_s : float, keyword only, default 1,209,600.0
            Minimum age in seconds of objects, git objects and quarantined files, two weeks by
            default.
        calls_older_than_days : float, keyword only, default 30.0
            Minimum age in days of results of calls: until then a failed execution can be repeated
            without paying for them twice.
        dry_run : bool, keyword only, optional
            Change nothing, and return what would be removed; by default at a remote only.
        remote : str, keyword only, default ""
            Name of a remote: with ``dry_run=False`` the objects that no ref of it needs are removed
            from its bucket or folder, with the parts of interrupted uploads, and nothing is done
            here. Its ``main`` has to be that of this
            vault. No repository but the remotes of this vault may keep data in the same place.

        Returns
        -------
        GcReport or RemoteGcReport
            Counts and bytes.

        Raises
        ------
        TVRemoteError
            There is no such remote, it cannot be reached, differs from this vault, or is an LFS
            server: these do not list their objects.
        TVArgumentError
            `grace_s` or `calls_older_than_days` is negative.
        TVFileError
            Something in git is damaged; nothing was removed.
        """
        from tablevault.operations.maintenance import collect
        from tablevault.remotes.remote_gc import collect_remote

        return (
            collect_remote(self._vault, remote, grace_s=grace_s, dry_run=dry_run is not False)
            if remote
            else collect(
                self._vault,
                grace_s=grace_s,
                calls_older_than_days=calls_older_than_days,
                dry_run=dry_run is True,
            )
        )


@checked
def clone_vault(
    url: str | os.PathLike[str], db_dir: str | os.PathLike[str], author: str, *, data: str = "lazy"
) -> TableVault:
    """Make a copy of a vault from elsewhere, and open it.

    Nothing that is in it is run. Neither git configuration nor hooks come along.

    Parameters
    ----------
    url : str or Path
        A path, ``file://``, ``ssh://``, ``host:path``, ``http://`` or ``https://`` address of a git
        repository that holds a vault. It becomes the remote ``origin``.
    db_dir : str or Path
        Folder of the clone; it must be missing or empty.
    author : str
        Author of commits in the clone.
    data : str, keyword only, default "lazy"
        "lazy" brings history now and each dataframe when it is first read, "all" brings the
        dataframes and artifacts of all instances now.

    Returns
    -------
    TableVault
        The copy.

    Raises
    ------
    TVArgumentError
        The folder is not empty.
    TVRemoteError
        There is no vault, it cannot be reached, or holds what no vault holds (symbolic links,
        paths that lead out of it, documents that cannot be read).
    """
    from tablevault.remotes.clone import clone

    return TableVault(clone(url, db_dir, author, Bars, data=data), author)


@checked
def compress_vault(db_dir: str | os.PathLike[str], preset: int = 6) -> None:
    """Pack a vault into one file, ``<db_dir>.tar.xz``; the vault is not changed.

    Parameters
    ----------
    db_dir : str or Path
        Folder of the vault.
    preset : int, default 6
        LZMA preset, 0 (fast) to 9 (small).

    Raises
    ------
    FileNotFoundError
        The folder is missing or is a file.
    TVArgumentError
        The folder is no vault.
    ValueError
        The preset is not 0 to 9.
    """
    from tablevault.operations.vaults import compress_vault

    compress_vault(db_dir, preset)


@checked
def decompress_vault(db_dir: str | os.PathLike[str]) -> None:
    """Restore the vault `db_dir` from ``<db_dir>.tar.xz``.

    Raises
    ------
    FileNotFoundError
        There is no archive.
    TVArgumentError
        `db_dir` exists and is not empty, or the archive is damaged, unsafe or holds no vault.
    """
    from tablevault.operations.vaults import decompress_vault

    decompress_vault(db_dir)


@checked
def delete_vault(db_dir: str | os.PathLike[str]) -> None:
    """Remove a vault with everything in it; of a symbolic link, its target.

    Raises
    ------
    TVArgumentError
        The folder is missing or no vault, or its git directory is elsewhere; nothing is touched.
    TVLockError
        A process runs in the vault.
    TVFileError
        The folder cannot be moved or removed; the error names what is left, and where.
    """
    from tablevault.operations.vaults import delete_vault

    delete_vault(db_dir)
