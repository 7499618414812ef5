"""What must never happen in a vault, by number, and the tests that prove that it does not.

The numbers are those of the list of faults that the behaviour of vaults was written against: each
was seen in a real program that kept tables like these. Here it is stated as the property that holds
instead.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

PROVEN = {
    1: (
        "create=True touches nothing but an empty folder or a vault",
        "operations/test_vaults.py::test_a_folder_that_is_no_vault_is_refused_and_not_touched",
        "operations/test_vaults.py::test_a_file_is_refused",
    ),
    2: (
        "a folder that modules are copied from stays as it is",
        "operations/test_code.py::test_a_file_and_a_folder_are_copied_and_stay",
    ),
    3: (
        "what runs in the background is materialised",
        "operations/test_background.py::test_it_returns_while_rows_are_made_and_tells_how_far_it_is",
        "operations/test_background.py::test_a_script_may_end_at_once",
    ),
    4: (
        "asking whether a lock is held does not disturb its holder",
        "transactions/test_resource_locks.py::test_what_is_excluded_is_told_who_holds_it",
        "transactions/test_transaction.py::test_a_dead_nameless_holder_is_taken_back_by_who_needs_what_it_held",
    ),
    5: (
        "a forced stop ends nobody but who is proven to run the process",
        "operations/test_stop.py::test_a_paused_process_ends_no_interpreter",
        "operations/test_stop.py::test_no_one_is_ended_who_is_not_proven_to_run_the_process",
    ),
    6: (
        "who waits for a lock keeps nobody else waiting",
        "transactions/test_resource_locks.py::test_who_waits_keeps_nobody_else_from_beginning",
        "transactions/test_resource_locks.py::test_who_waits_holds_nothing_meanwhile",
    ),
    7: (
        "ids that begin alike are different ids",
        "transactions/test_resource_locks.py::test_ids_that_begin_alike_are_not_related",
    ),
    8: (
        "metadata are written as a whole or not at all",
        "faults/test_every_step.py::test_a_kill_leaves_all_or_nothing",
        "transactions/test_record.py::test_a_record_that_is_cut_off_anywhere_is_none",
    ),
    9: (
        "what is written into a working file changes no committed data",
        "operations/test_artifact_files.py::test_a_shared_empty_file_that_somebody_wrote_into_harms_no_other",
        "operations/test_builders.py::test_hand_edits_are_committed_before_the_operation",
    ),
    10: (
        "a create_instance that fails leaves the temporary instance that was there",
        "operations/test_builders.py::test_a_bad_name_changes_nothing",
        "faults/test_every_step.py::test_a_full_disk_leaves_all_or_nothing",
    ),
    11: (
        "restart handles each record for itself",
        "operations/test_restart.py::test_one_bad_record_keeps_no_other_from_its_end",
        "operations/test_restart.py::test_a_record_that_is_damaged_keeps_no_other_from_its_end",
    ),
    12: (
        "holes of a partial instance are filled before it counts as successful",
        "operations/test_reuse.py::test_cells_that_were_never_computed_are",
        "operations/test_contract.py::test_a_whole_run_after_a_partial_one_is_recorded_as_whole",
    ),
    13: (
        "results of functions of one's own are reused",
        "operations/test_reuse.py::test_nothing_changed_nothing_is_called",
    ),
    14: (
        "an edited index builder leaves the results of keys that stay",
        "operations/test_reuse.py::test_rows_are_known_by_their_key",
    ),
    15: (
        "a column of categories keeps its values",
        "engine/execution/test_run.py::test_categories_survive",
        "operations/test_contract.py::test_each_dtype_is_kept_by_each_kind_of_builder",
    ),
    16: (
        "a row that is inserted inherits nothing",
        "operations/test_reuse.py::test_without_a_key_rows_are_known_by_their_place_and_values",
    ),
    17: (
        "what was computed anew is new to whoever reads it",
        "operations/test_reuse.py::test_what_depends_on_a_changed_column_is_computed",
        "operations/test_reuse.py::test_one_changed_cell_computes_one_row_after_it",
    ),
    18: (
        "the column of a builder that is gone is gone",
        "operations/test_reuse.py::test_a_builder_that_goes_takes_its_column",
    ),
    19: (
        "files that an instance names stay as long as it",
        "operations/test_artifacts.py::test_files_of_every_instance_stay_readable",
        "operations/test_artifacts.py::test_an_instance_without_artifacts_leaves_the_folder",
    ),
    20: (
        "a version is not another one that begins alike",
        "operations/test_write.py::test_versions_are_compared_as_a_whole",
    ),
    21: (
        "instances are listed by their whole version",
        "operations/test_write.py::test_versions_are_compared_as_a_whole",
    ),
    22: (
        "a reference that is the whole field keeps its type",
        "engine/references/test_references.py::test_the_conformance_table_holds_for_a_whole_reference",
    ),
    23: (
        "text that a reference gives stays text",
        "engine/references/test_references.py::test_the_conformance_table_holds_for_strings",
        "engine/execution/test_run.py::test_keywords_are_replaced_in_text_and_never_in_data",
    ),
    24: (
        "a nested reference is no range",
        "engine/references/test_references.py::test_the_conformance_table_holds_for_a_whole_reference",
    ),
    25: (
        "what cannot be resolved is an error, not an argument",
        "engine/references/test_references.py::test_row_118_without_a_row_a_position_is_an_error",
        "operations/test_bad_input.py::test_a_reference_that_leads_nowhere_is_named",
    ),
    26: (
        "a builder that reads the whole table has a place in the order",
        "engine/builders/test_order.py::test_the_whole_table_is_read_after_all_builders_before_in_the_alphabet",
        "engine/builders/test_order.py::test_the_order_does_not_depend_on_the_order_given",
    ),
    27: (
        "every column of a rewritten copy can be referred to",
        "operations/test_contract.py::test_every_column_of_a_rewritten_copy_can_be_referred_to",
    ),
    28: (
        "dependencies are checked and recorded as they were meant",
        "operations/test_write.py::test_dependencies_are_resolved_and_recorded",
        "operations/test_contract.py::test_a_dependency_is_recorded_once_however_often_it_is_named",
    ),
    29: (
        "the author of an instance is a person",
        "operations/test_vaults.py::test_the_author_signs_the_commits",
        "queries/test_reading.py::test_instances_are_described",
    ),
    30: (
        "a whole table is copied by naming it",
        "engine/references/test_references.py::test_row_33_has_no_index_column",
        "operations/test_contract.py::test_a_table_is_copied_by_naming_it",
    ),
    31: (
        "the frame of the caller is left alone, a column called index kept",
        "operations/test_write.py::test_the_callers_frame_is_not_changed",
        "frames/test_parquet.py::test_any_text_is_a_name",
    ),
    32: (
        "reading a temporary instance writes nothing",
        "operations/test_resume.py::test_rows_are_seen_from_another_process_while_they_are_made",
        "operations/test_write.py::test_a_new_temporary_instance_reads_as_empty",
    ),
    33: (
        "texts that look like missing values are texts",
        "frames/test_parquet.py::test_a_column_comes_back_as_it_was",
        "property/test_frames_laws.py::test_what_is_written_is_read",
    ),
    34: (
        "lists, dicts and numbers in object columns come back as such",
        "frames/test_object_columns.py::test_all_other_values_come_back_through_json",
    ),
    35: (
        "floats keep all digits, texts every character",
        "frames/test_parquet.py::test_a_column_comes_back_as_it_was",
        "operations/test_write.py::test_values_come_back_exactly",
    ),
    36: (
        "ties are decided by the alphabet",
        "engine/builders/test_order.py::test_the_index_builder_runs_first_and_ties_are_alphabetical",
        "engine/builders/test_order.py::test_a_column_has_one_builder",
    ),
    37: (
        "names of columns are text, each once",
        "frames/test_dtypes.py::test_columns_get_unique_text_names",
        "frames/test_parquet.py::test_the_index_is_not_written",
    ),
    38: (
        "old rows are kept once, resumed or not",
        "operations/test_reuse.py::test_old_rows_are_kept_once",
    ),
    39: (
        "an instance may begin from one of another table",
        "operations/test_reuse.py::test_an_origin_of_another_table",
    ),
    40: (
        "an archive gives the vault back",
        "operations/test_archive.py::test_a_round_trip_gives_an_equal_vault",
        "operations/test_archive.py::test_a_full_target_is_refused",
    ),
    41: (
        "an archive lies beside its vault",
        "operations/test_archive.py::test_an_archive_may_be_renamed",
    ),
    42: (
        "every method has a command, mistakes have no traceback",
        "cli/test_door.py::test_wrong_arguments_are_two",
        "cli/test_commands.py::test_a_vault_is_packed_unpacked_and_deleted",
    ),
    43: (
        "every dtype that is accepted is kept",
        "frames/test_dtypes.py::test_a_declared_name_means_a_nullable_dtype",
        "frames/test_parquet.py::test_a_column_comes_back_as_it_was",
    ),
    44: (
        "builders of materialised instances are read",
        "queries/test_reading.py::test_builders_of_materialised_instances",
    ),
    45: (
        "write_instance takes dtypes",
        "operations/test_write.py::test_numbers_and_text_become_nullable",
    ),
    46: (
        "builders are given as names, files or texts",
        "operations/test_builders.py::test_builders_may_be_names_files_and_texts",
    ),
    47: (
        "what the caller passes is not changed",
        "operations/test_builders.py::test_builders_may_be_names_files_and_texts",
    ),
    48: (
        "what does not go together is refused before anything is made",
        "operations/test_builders.py::test_wrong_places_are_refused",
    ),
    49: (
        "a row-wise index builder reads its own columns",
        "operations/test_contract.py::test_row_wise_index_builders_go_on_from_the_rows_before",
        "engine/builders/test_order.py::test_a_builder_may_read_its_own_columns",
    ),
    50: (
        "dependencies are given as text, too",
        "engine/builders/test_builder.py::test_explicit_dependencies_have_two_forms",
        "engine/execution/test_run.py::test_explicit_dependencies_have_to_exist",
    ),
    51: (
        "a template says that it is one",
        "engine/builders/test_builder.py::test_a_template_is_a_valid_file_that_cannot_be_executed",
    ),
    52: (
        "references stand in all fields",
        "engine/execution/test_run.py::test_references_stand_in_all_fields",
        "engine/references/test_references.py::test_row_117_keys_of_mappings_are_resolved",
    ),
    53: (
        "a column of an instance named by its id is read",
        "engine/references/test_references.py::test_the_conformance_table_holds_for_a_whole_reference",
    ),
    54: (
        "an inactive instance is read by its id",
        "operations/test_contract.py::test_an_inactive_instance_is_read_by_its_id_and_by_no_other_name",
    ),
    55: (
        "separators within quotes are text",
        "journeys/test_reference_table.py::test_what_references_give",
    ),
    56: (
        "files that no cell names are found",
        "operations/test_artifacts.py::test_wrong_names_change_nothing",
    ),
    57: (
        "artifacts lie in their folder",
        "operations/test_artifact_files.py::test_a_name_that_could_do_harm_is_refused",
        "operations/test_artifacts.py::test_a_link_out_of_the_folder_is_refused",
    ),
    58: (
        "side effects make earlier instances inactive before the first call",
        "operations/test_activation.py::test_earlier_instances_are_inactive_while_functions_run",
    ),
    59: (
        "an instance has a success of its own",
        "operations/test_contract.py::test_a_whole_run_after_a_partial_one_is_recorded_as_whole",
        "operations/test_stop.py::test_rows_become_an_instance_that_is_active_and_not_successful",
    ),
    60: (
        "a table that is renamed gets a name that a new one could have",
        "operations/test_tables.py::test_a_bad_name_changes_nothing",
    ),
    61: (
        "ids are compared as a whole",
        "queries/test_reading.py::test_completion_is_exact",
        "transactions/test_transaction.py::test_an_id_with_blanks_within_is_known_after_it_ended",
    ),
    62: (
        "no name leads out of its folder",
        "operations/test_code.py::test_a_bad_name_changes_nothing",
        "operations/test_builders.py::test_a_bad_name_changes_nothing",
    ),
    63: (
        "a paused process goes on from any interpreter",
        "operations/test_resume.py::test_of_two_who_go_on_with_the_same_process_exactly_one_does",
        "operations/test_background.py::test_what_was_paused_goes_on_in_the_background",
    ),
    64: (
        "an operation holds what it needs and nothing more",
        "journeys/test_lock_matrix.py::test_operations_on_one_table",
    ),
    65: (
        "a mistake of the user is an error of TableVault",
        "operations/test_bad_input.py::test_a_field_that_is_wrong_is_named",
        "test_arguments.py::test_no_argument_of_a_public_method_takes_anything",
    ),
    66: (
        "an error in a reference is an error of TableVault",
        "test_errors.py::test_a_reference_error_marks_the_place",
        "operations/test_resume.py::test_an_error_before_the_first_call_ends_the_process_although_it_has_an_id",
    ),
    67: (
        "a materialisation that fails moves no artifact",
        "faults/test_every_step.py::test_an_interrupt_leaves_all_or_nothing",
    ),
    68: (
        "readers see whole instances",
        "journeys/test_together.py::test_readers_see_whole_instances_while_others_write",
        "queries/test_reading.py::test_readers_see_one_commit_while_others_write",
    ),
    69: (
        "undeclared columns are inferred",
        "engine/execution/test_run.py::test_undeclared_columns_are_inferred",
    ),
    70: (
        "columns go by name, rows are counted",
        "engine/execution/test_run.py::test_frame_columns_go_by_name_when_the_names_agree",
        "engine/execution/test_run.py::test_a_column_builder_returns_a_row_for_each_row",
    ),
    71: (
        "keys are unique, rows stay in order",
        "engine/execution/test_run.py::test_duplicate_keys_are_refused_with_rows_and_key",
        "engine/execution/test_run.py::test_rows_stay_in_the_order_returned",
    ),
    72: (
        "a value that does not fit is one error, and the vault works on",
        "operations/test_bad_input.py::test_a_value_that_does_not_fit_its_dtype_is_named_with_its_row",
    ),
    73: (
        "who is kept out leaves no record",
        "transactions/test_resource_locks.py::test_one_waits_as_long_as_the_timeout_says",
        "journeys/test_lock_matrix.py::test_operations_on_one_version_exclude_each_other",
    ),
    74: (
        "temporary instances of a renamed table work",
        "operations/test_tables.py::test_rename_takes_temporary_instances_along",
        "operations/test_execute.py::test_rename_with_builders_executes",
    ),
    75: (
        "what was copied before a rename executes after it",
        "operations/test_contract.py::test_a_copy_after_a_rename_executes_and_names_what_it_comes_from",
    ),
    76: (
        "what is deleted frees its room",
        "operations/test_artifacts.py::test_deleting_the_owner_deletes_its_files",
        "operations/test_gc.py::test_objects_that_nothing_needs_go_when_they_are_old",
    ),
    77: (
        "without its origin, an instance begins from nothing",
        "operations/test_contract.py::test_a_temporary_instance_whose_origin_is_gone_runs_from_nothing",
    ),
    78: (
        "a value in a condition is compared, never run",
        "engine/references/test_references.py::test_the_conformance_table_holds_for_a_whole_reference",
        "property/test_reference_laws.py::test_evaluation_agrees_with_plain_python",
    ),
    79: (
        "what a function does to its arguments stays with it",
        "engine/execution/test_run.py::test_a_function_that_changes_its_arguments_changes_nothing_else",
    ),
    80: (
        "what is read is held while it is read",
        "journeys/test_lock_matrix.py::test_an_execution_keeps_what_it_reads",
        "operations/test_execute.py::test_an_instance_being_read_cannot_be_deleted_meanwhile",
    ),
    81: (
        "a write that fails leaves the temporary instance as it was",
        "operations/test_write.py::test_bad_input_changes_nothing",
        "faults/test_every_step.py::test_a_kill_leaves_all_or_nothing",
    ),
    82: (
        "an id belongs to one operation",
        "operations/test_resume.py::test_another_operation_cannot_take_the_id",
    ),
    83: (
        "a stopped process says that it was stopped",
        "operations/test_stop.py::test_a_paused_process_is_stopped_and_its_id_is_gone",
    ),
    84: (
        "files are put into the folder of an external edit",
        "operations/test_artifact_files.py::test_an_ordinary_user_may_fill_the_folder_of_an_external_edit",
    ),
    85: (
        "modes are those of the files",
        "operations/test_artifacts.py::test_the_executable_bit_is_kept",
    ),
    86: (
        "what fails leaves nothing behind",
        "transactions/test_transaction.py::test_an_operation_that_fails_leaves_everything_as_it_was",
    ),
    87: (
        "errors name what they are about",
        "test_errors.py::test_every_error_prints_message_and_hint",
    ),
    88: (
        "a process is run once at a time",
        "transactions/test_transaction.py::test_an_id_that_runs_is_refused",
    ),
    89: (
        "a record that is written often does not grow",
        "transactions/test_record_store.py::test_a_record_that_is_written_often_does_not_grow_without_end",
    ),
    90: (
        "rows are kept in one file for each builder",
        "engine/calls/test_writer.py::test_quick_calls_are_written_together",
    ),
    91: (
        "a file of rows that was cut off has its whole rows, and nothing in it is run",
        "engine/calls/test_store.py::test_a_damaged_file_is_moved_aside",
        "test_house.py::test_nothing_is_read_that_could_run_code",
    ),
    92: (
        "paths are absolute, whatever the current folder",
        "operations/test_vaults.py::test_a_relative_path_survives_chdir",
        "operations/test_artifact_files.py::test_paths_are_absolute_whatever_the_current_folder",
    ),
    93: (
        "what a reference gives is data, and not looked into",
        "engine/execution/test_run.py::test_keywords_are_replaced_in_text_and_never_in_data",
    ),
    94: (
        "code that a function needs counts as its code",
        "operations/test_reuse.py::test_code_that_is_imported_counts",
        "operations/test_reuse.py::test_changed_code_computes_what_it_makes",
    ),
    95: (
        "the background is an interpreter of its own, with a log",
        "operations/test_background.py::test_nothing_of_the_caller_is_kept_open",
        "operations/test_background.py::test_a_function_that_fails_pauses_or_ends_it_and_is_in_the_log",
    ),
    96: (
        "alive means that a lock is held",
        "transactions/test_record_store.py::test_alive_means_that_the_lock_is_held_and_nothing_else",
    ),
    97: (
        "dtypes of text come back as they were",
        "frames/test_parquet.py::test_all_columns_come_back_together",
    ),
    98: (
        "a vault says which format it has",
        "operations/test_vaults.py::test_a_vault_of_a_newer_format_is_refused",
    ),
    99: (
        "what is public works",
        "test_house.py::test_all_that_is_public_in_core_is_documented",
    ),
    100: (
        "the exception of a function reaches the caller",
        "operations/test_execute.py::test_the_exception_of_a_function_passes_unchanged",
    ),
    101: (
        "the local history is bounded",
        "transactions/test_record_store.py::test_the_history_is_bounded_and_keeps_the_newest",
    ),
    102: (
        "what is not known is reported",
        "engine/builders/test_builder.py::test_an_unknown_field_is_an_error_that_offers_the_nearest_one",
        "engine/execution/test_run.py::test_a_dtype_of_another_column_is_ignored_with_a_warning",
    ),
    103: (
        "the name of a builder and its type agree",
        "engine/builders/test_builder.py::test_type_and_file_name_have_to_agree",
    ),
    104: (
        "whether an instance is active is reported",
        "queries/test_reading.py::test_instances_are_described",
    ),
    105: (
        "why a module cannot be loaded is reported",
        "engine/test_code.py::test_the_error_gives_the_real_cause",
    ),
}
"""The property, then the tests, each ``file::test``."""


@cache
def names_in(file: Path) -> frozenset[str]:
    """Name the tests of a file."""
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("number", PROVEN)
def test_each_property_is_proven_by_tests_that_exist(number: int) -> None:
    for place in PROVEN[number][1:]:
        file, _, name = place.partition("::")
        assert (TESTS / file).is_file(), place
        assert name in names_in(TESTS / file), place


def test_no_fault_is_left_out() -> None:
    assert list(PROVEN) == list(range(1, 106))
