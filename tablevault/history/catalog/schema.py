"""The tables of the catalog, and what their rows mean."""

from __future__ import annotations

SCHEMA = """
-- A commit of plain git is about the instance that it changed.
CREATE TABLE IF NOT EXISTS log (
    commit_id TEXT PRIMARY KEY, process_id TEXT, stands INTEGER, at REAL, started REAL,
    author TEXT, operation TEXT, table_id TEXT, table_name TEXT, version TEXT,
    instance_id TEXT, subject TEXT, success INTEGER, rows INTEGER, parent_id TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS log_by_time ON log (at, commit_id);
CREATE INDEX IF NOT EXISTS log_by_process ON log (process_id, stands, at, commit_id);
CREATE INDEX IF NOT EXISTS log_by_table ON log (table_id, at);
CREATE INDEX IF NOT EXISTS log_by_instance ON log (instance_id);
CREATE TABLE IF NOT EXISTS sources (
    instance_id TEXT, kind TEXT, place INTEGER, table_name TEXT, source_id TEXT,
    PRIMARY KEY (instance_id, kind, source_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sources_by_source ON sources (source_id);
CREATE TABLE IF NOT EXISTS seen (ref TEXT PRIMARY KEY, commit_id TEXT);
CREATE TABLE IF NOT EXISTS folded (commit_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS processes (
    process_id TEXT PRIMARY KEY, operation TEXT, commit_id TEXT, author TEXT, at REAL, parent TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS processes_by_parent ON processes (parent);
CREATE TABLE IF NOT EXISTS undos (
    process_id TEXT, undone_by TEXT, PRIMARY KEY (process_id, undone_by)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tables (
    table_id TEXT, name TEXT, created_at TEXT, PRIMARY KEY (table_id, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tables_by_name ON tables (name);
CREATE TABLE IF NOT EXISTS renames (
    commit_id TEXT PRIMARY KEY, table_id TEXT, old_name TEXT, new_name TEXT, at REAL
);
CREATE TABLE IF NOT EXISTS instances (
    instance_id TEXT PRIMARY KEY, table_id TEXT, table_name TEXT, version TEXT, commit_id TEXT,
    materialized_at TEXT, success INTEGER, errors INTEGER
);
CREATE INDEX IF NOT EXISTS instances_by_table
    ON instances (table_id, materialized_at, instance_id);
CREATE INDEX IF NOT EXISTS instances_by_version
    ON instances (table_id, version, materialized_at, instance_id);
CREATE TABLE IF NOT EXISTS inactive (
    instance_id TEXT, cause TEXT, PRIMARY KEY (instance_id, cause)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revived (
    instance_id TEXT, cause TEXT, PRIMARY KEY (instance_id, cause)
) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS deactivated AS SELECT * FROM inactive WHERE NOT EXISTS (
    SELECT 1 FROM revived
    WHERE revived.instance_id = inactive.instance_id AND revived.cause = inactive.cause
);
CREATE TABLE IF NOT EXISTS ended (
    subject TEXT, cause TEXT, commit_id TEXT, at TEXT, author TEXT, for_good INTEGER,
    PRIMARY KEY (subject, cause)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS restored (
    subject TEXT, cause TEXT, PRIMARY KEY (subject, cause)
) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS still_ended AS SELECT * FROM ended WHERE NOT EXISTS (
    SELECT 1 FROM restored
    WHERE restored.subject = ended.subject AND restored.cause = ended.cause
);
CREATE TABLE IF NOT EXISTS gone (
    subject TEXT PRIMARY KEY, commit_id TEXT, at TEXT, author TEXT, for_good INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    oid TEXT, instance_id TEXT, PRIMARY KEY (oid, instance_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_instance ON objects (instance_id);
"""
"""Facts about instances are keyed by ids, so commits may be folded in any order that a merge of
several histories gives. `ended` says which process ended an instance or a table, `restored` of
which that was taken back, `still_ended` has the rest. `gone` has one of these for each: an instance
is gone when its table is; what was deleted is gone for good, what an undo ended keeps its objects.
`inactive` says which process made an instance inactive, `revived` of which that was taken back; an
instance is active unless `deactivated` still has it.

`log` has a row for each commit that an operation or a person made. Of the commits of one
process, the one with ``Vault-Time`` stands for it; the same may be said twice, by a cherry-pick,
and then the earliest counts. `sources` holds what an instance was made from: the instances it read
(``depends``) and the one it was copied from (``origin``)."""

TABLES = (
    "seen",
    "folded",
    "processes",
    "tables",
    "renames",
    "instances",
    "inactive",
    "revived",
    "undos",
    "ended",
    "restored",
    "gone",
    "objects",
    "log",
    "sources",
)

INSTANCES = (
    "instances LEFT JOIN gone ON gone.subject = instances.instance_id "
    "LEFT JOIN gone AS table_gone ON table_gone.subject = table_id"
)
"""Instances, beside what ended them or their table."""
NOT_DELETED = "gone.at IS NULL AND table_gone.at IS NULL"
"""Of these, those that are not deleted."""
