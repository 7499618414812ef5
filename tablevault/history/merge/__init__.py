"""Merge two histories of a vault, and validate incoming commits.

A merge, from `pull` or from plain git, goes through the modules like this::

    fetched commits -> validate_commits      refuse what no vault may hold
    ours, theirs    -> merge_commits         find the merge base; several bases become one
                       merge_tables          match tables by id, choose the instance of each version
                       merge_files           merge vault.yaml by field, other files by line
                    -> merge_result          edits of the tree of ours, or conflicts
    edits           -> the merge commit      `remotes.pull`, or `transactions.git_merges`

A conflict names a path. The caller resolves it by choosing "ours" or "theirs" for that path and
merging again. The merged tree does not depend on which side is called ours.
"""
