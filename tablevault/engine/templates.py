"""Builder files to begin with: valid YAML whose upper-case words wait to be replaced."""

from __future__ import annotations

from tablevault.names import index_builder

PLACEHOLDERS = frozenset({"COLUMN_NAME", "FUNCTION_NAME", "MODULE_NAME", "ARGUMENT_VALUE"})
"""Words of the templates that a finished builder no longer holds."""

_TYPE = """\
# {purpose}
builder_type: {kind}

# The columns that this builder fills, in the order in which the function returns them.
changed_columns:
  - COLUMN_NAME
"""

_KEY = """
# Optional. Columns that together name a row; values of earlier runs are found by them.
primary_key:
  - COLUMN_NAME

# Optional. Keep the rows of the instance before whose key does not appear again.
keep_old: false

# Optional. false: the function is not called again while its code and arguments are the same.
always_run: true
"""

_REST = """
# The function, and the module it is in: code/MODULE_NAME.py when is_custom is true, else a
# module that comes with TableVault, such as table_generation.
python_function: FUNCTION_NAME
code_module: MODULE_NAME
is_custom: false

# Passed to the function by name. A string that is exactly one reference becomes the object it
# refers to; a reference within other text becomes text. Write {{}} when there are no arguments.
arguments:
  plain: ARGUMENT_VALUE
  referenced: {sample}

# dataframe: called once, returns a DataFrame.
# row-wise: called for each row, returns one value, or a list of them for several columns.
# generator: called once, yields what row-wise would return.
return_type: {return_type}

# Optional, row-wise only. Calls at the same time; 1 by default, 16 of an async function.
# n_threads: 8

# Optional, for calls that fail or cost: how often they are made again, whether rows whose calls
# fail stay null, and how fast and for how much the function may be called.
# retry: 3
# on_error: keep
# limits: {{calls_per_minute: 500, cost: 5}}

# Optional. Columns that are not named get the type of their values.
dtypes: {{}}
#  amount: Int64
#  score: Float64
#  picture: artifact_string

# Optional. References are found by themselves; add what they cannot show, such as
# [orders.amount, "orders.*", orders(base)].
dependencies: null

# References: <<orders>> is a table, <<orders.{{id,amount}}>> two of its columns,
# <<orders.amount[id::7]>> one value, <<orders.amount[id::1:5]>> the values for 1 to 4, and
# <<orders.amount[id::{inner}]>> takes the id from a row of this table.
"""


def index_template(table: str) -> str:
    """Return the text of a builder file that makes the rows of `table`."""
    return (
        _TYPE.format(
            purpose=f'Makes the rows of table "{table}"; the file has to be called '
            f"{index_builder(table)}.yaml.",
            kind="IndexBuilder",
        )
        + _KEY
        + _REST.format(
            sample='"<<orders.amount[id::7]>>"',
            return_type="dataframe",
            inner="<<self.id[index::0]>>",
        )
    )


def column_template(builder: str) -> str:
    """Return the text of a builder file called `builder` that fills columns of existing rows."""
    return _TYPE.format(
        purpose=f"{builder}: fills columns of the rows that the index builder has made.",
        kind="ColumnBuilder",
    ) + _REST.format(
        sample='"<<orders.amount[id::<<self.id[index]>>]>>"',
        return_type="row-wise",
        inner="<<self.id[index]>>",
    )
