"""The kit itself: each broken store fails exactly the tests that are meant to notice, and no other."""

from __future__ import annotations

import pytest
from broken_stores import (
    AnswersAfterTheClose,
    BelievesUploads,
    ClaimsToBeDurable,
    CommitsAnyway,
    DuplicatesOnRetry,
    ForgetsOffsets,
    ForgetsOrder,
    HalvesBatches,
    IsCutOff,
    JoinsOwnerNames,
    KeepsItemsOfDeletedThreads,
    LastWriterWins,
    LeaksAcrossOwners,
    LeavesItsProbe,
    LosesTheLastPage,
    LosesTies,
    OverwritesOnRepeatedId,
    ResurrectsWhatIsGone,
    SharesWhatItIsGiven,
    SharesWhatItLoads,
    ShowsUncommitted,
    SortsKeys,
    SwallowsErrors,
    TakesAnyCursor,
    TakesNaN,
    TellsOfOthers,
)
from direct_runs import failures, suite
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from chatstore.protocols import Capability, Store
from chatstore.stores.memory import MemoryStore
from chatstore.testing.machine import StoreMachine
from chatstore.testing.store_suite import StoreTests

MEANT: dict[type[MemoryStore], set[str]] = {
    LeaksAcrossOwners: {
        "test_anothers_data_is_answered_as_what_never_existed[load_item]",
    },
    TellsOfOthers: {
        "test_anothers_data_is_answered_as_what_never_existed[delete_thread]",
        "test_deleting_as_one_owner_leaves_those_alike",
        "test_two_owners_use_the_same_ids",
    },
    JoinsOwnerNames: {
        "test_deleting_as_one_owner_leaves_those_alike",
        "test_owners_that_look_alike_are_different",
    },
    LosesTies: {
        "test_threads_of_one_time_are_all_listed",
    },
    LosesTheLastPage: {
        "test_a_batch_of_a_thousand_is_one_write",
        "test_a_limit_over_a_thousand_is_a_thousand",
        "test_a_page_ends_after_sixteen_mebibytes",
        "test_a_page_that_ends_with_the_thread_has_nothing_after_it",
        "test_items_added_between_pages_come_at_the_end",
        "test_items_added_between_pages_do_not_shift_older_ones",
        "test_iterating_finds_every_item_in_both_orders",
        "test_iterating_while_deleting_meets_every_item",
        "test_only_the_newest_thousand_are_looked_at",
        "test_pages_follow_positions_and_not_times",
        "test_pages_hold_every_item_once[3-asc]",
        "test_pages_hold_every_item_once[3-desc]",
        "test_pages_hold_every_item_once[9-asc]",
        "test_pages_hold_every_item_once[9-desc]",
    },
    ForgetsOrder: {
        "test_a_batch_is_in_the_order_given",
        "test_a_clock_that_steps_back_changes_nothing",
        "test_a_deleted_item_that_is_added_again_is_a_new_one_at_the_end",
        "test_a_naive_at_is_local_time",
        "test_a_save_with_another_time_does_not_move_an_item",
        "test_an_append_after_a_placing_is_last",
        "test_at_places_by_the_times_of_the_others_and_keeps_its_own",
        "test_every_kind_of_write_finishes_in_a_cancelled_scope",
        "test_only_the_newest_thousand_are_looked_at",
        "test_pages_follow_positions_and_not_times",
    },
    SwallowsErrors: {
        "test_a_cancelled_run_is_whole_or_absent",
        "test_a_deleted_thread_is_gone_with_its_items",
        "test_a_deleted_thread_takes_its_records_along",
        "test_a_loaded_record_that_is_gone_is_not_brought_back",
        "test_a_long_thread_is_deleted_whole_and_its_id_is_free_at_once",
        "test_a_record_needs_a_name_and_a_type",
        "test_an_attachment_joins_an_existing_thread_only",
        "test_an_attachment_joins_no_thread_of_another",
        "test_records_are_loaded_in_the_order_of_the_ids",
        "test_what_is_absent_is_a_not_found_error[iter_thread_items]",
        "test_what_is_absent_is_a_not_found_error[load_attachment]",
        "test_what_is_absent_is_a_not_found_error[load_attachments]",
        "test_what_is_absent_is_a_not_found_error[load_thread_items]",
    },
    SharesWhatItLoads: {
        "test_changing_a_loaded_item_changes_nothing",
    },
    SharesWhatItIsGiven: {
        "test_changing_what_a_write_returned_changes_nothing",
    },
    OverwritesOnRepeatedId: {
        "test_a_write_that_failed_is_an_error_and_not_an_answer",
        "test_an_item_added_again_with_another_time_is_a_conflict_and_touches_nothing",
        "test_of_two_items_under_one_id_at_once_one_wins_and_the_others_are_told",
        "test_the_same_instant_in_another_offset_is_another_time",
    },
    DuplicatesOnRetry: {
        "test_a_placed_item_added_again_stays_where_it_is",
        "test_a_timeout_around_a_write_says_nothing_about_it",
        "test_a_write_that_failed_is_an_error_and_not_an_answer",
        "test_an_item_added_again_keeps_its_place_and_takes_the_data_given_last",
        "test_an_item_added_again_with_another_time_is_a_conflict_and_touches_nothing",
        "test_an_item_added_again_without_a_time_matches_the_stored_one",
        "test_every_way_in_keeps_data_exactly",
        "test_of_two_items_under_one_id_at_once_one_wins_and_the_others_are_told",
        "test_one_add_sent_many_times_at_once_is_one_item",
        "test_the_same_instant_in_another_offset_is_another_time",
        "test_the_time_that_the_store_made_matches_when_it_is_given_back",
    },
    ResurrectsWhatIsGone: {
        "test_a_loaded_item_of_a_deleted_thread_is_not_brought_back",
        "test_a_loaded_item_that_is_gone_is_not_brought_back",
        "test_a_loaded_model_of_another_is_not_there",
        "test_a_loaded_thread_that_is_gone_is_not_brought_back",
    },
    TakesNaN: {
        "test_an_error_does_not_repeat_the_content",
        "test_bad_data_is_refused[add_thread_item]",
    },
    SortsKeys: {
        "test_data_comes_back_exactly[NUL characters]",
        "test_data_comes_back_exactly[empty values]",
        "test_data_comes_back_exactly[key order]",
        "test_data_comes_back_exactly[keys as given]",
        "test_data_comes_back_exactly[quotes and escapes]",
        "test_data_comes_back_exactly[unicode]",
        "test_every_way_in_keeps_data_exactly",
    },
    ForgetsOffsets: {
        "test_the_time_of_an_item_comes_back_as_given[an offset below a second]",
        "test_the_time_of_an_item_comes_back_as_given[an offset of microseconds]",
        "test_the_time_of_an_item_comes_back_as_given[an offset of seconds]",
        "test_the_time_of_an_item_comes_back_as_given[an offset]",
        "test_the_time_of_an_item_comes_back_as_given[first pass of a repeated hour]",
        "test_the_time_of_an_item_comes_back_as_given[naive midnight]",
        "test_the_time_of_an_item_comes_back_as_given[naive year 1]",
        "test_the_time_of_an_item_comes_back_as_given[naive year 9999]",
        "test_the_time_of_an_item_comes_back_as_given[naive]",
        "test_the_time_of_an_item_comes_back_as_given[second pass of a repeated hour]",
    },
    CommitsAnyway: {
        "test_a_cancelled_block_rolls_back",
        "test_a_nested_block_is_committed_by_the_outer_one",
        "test_an_exception_rolls_back_and_is_raised",
        "test_run_inside_a_block_is_part_of_it",
        "test_run_rolls_back_when_the_work_raises",
    },
    ShowsUncommitted: {
        "test_a_rolled_back_write_is_seen_by_nobody",
        "test_a_write_is_seen_by_others_from_the_commit_on",
    },
    HalvesBatches: {
        "test_a_batch_is_seen_whole_or_not_at_all",
        "test_a_batch_with_a_conflict_adds_nothing",
        "test_a_cancelled_batch_is_whole_or_absent",
        "test_a_write_through_the_outer_store_is_refused_at_once",
        "test_an_item_twice_in_one_batch_is_one_item",
        "test_every_kind_of_write_finishes_in_a_cancelled_scope",
    },
    IsCutOff: {
        "test_every_kind_of_write_finishes_in_a_cancelled_scope",
        "test_two_writes_in_a_cancelled_scope_both_finish",
    },
    LastWriterWins: {
        "test_a_conflict_in_one_field_writes_no_other",
        "test_changes_to_different_fields_are_both_kept[metadata-metadata]",
        "test_changes_to_different_fields_are_both_kept[status-status]",
        "test_changes_to_different_fields_are_both_kept[title-title]",
        "test_of_concurrent_saves_of_one_field_one_wins",
    },
    BelievesUploads: {
        "test_a_new_record_is_pending",
        "test_state_size_and_checksum_are_never_taken_from_a_save",
    },
    KeepsItemsOfDeletedThreads: {
        "test_a_loaded_item_of_a_deleted_thread_is_not_brought_back",
        "test_a_long_thread_is_deleted_whole_and_its_id_is_free_at_once",
        "test_the_id_of_a_deleted_thread_gives_an_empty_thread",
    },
    TakesAnyCursor: {
        "test_a_cursor_belongs_to_one_listing",
        "test_a_cursor_can_be_used_again",
        "test_a_cursor_of_another_owner_is_refused_as_a_forged_one",
        "test_a_cursor_says_nothing_to_other_owners",
        "test_an_altered_cursor_is_refused",
        "test_what_is_no_cursor_is_refused",
    },
    AnswersAfterTheClose: {
        "test_after_the_close_every_call_is_a_closed_error",
        "test_an_iteration_that_outlives_the_store_ends_in_a_closed_error",
        "test_closing_twice_is_fine",
        "test_leaving_the_block_of_a_store_closes_it",
    },
    LeavesItsProbe: {
        "test_a_check_of_a_store_that_works_passes_and_leaves_nothing",
        "test_every_call_answers_for_what_exists",
    },
    ClaimsToBeDurable: {
        "test_a_durable_store_has_everything_after_it_is_opened_again",
        "test_a_durable_store_keeps_what_was_acknowledged_beside_a_close",
    },
}
"""The tests meant for each broken store; without parameters, every one of that name."""


def _full_names(names: set[str]) -> set[str]:
    return {full for full, name, _ in suite() if full in names or name in names}


def test_the_reference_fails_nothing() -> None:
    assert failures(MemoryStore) == set()


@pytest.mark.parametrize("broken", MEANT)
def test_a_broken_store_fails_exactly_the_tests_meant_for_it(broken: type[MemoryStore]) -> None:
    assert failures(broken) == _full_names(MEANT[broken])


@pytest.mark.parametrize(
    "broken",
    [JoinsOwnerNames, LosesTies, ForgetsOrder, OverwritesOnRepeatedId, DuplicatesOnRetry, CommitsAnyway, HalvesBatches],
)
def test_a_random_history_finds_what_is_broken(broken: type[MemoryStore]) -> None:
    class Machine(StoreMachine):
        def open_store(self) -> Store:
            return broken()

    search = settings(max_examples=500, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=search)


def test_every_name_in_the_table_is_a_test() -> None:
    known = {name for full, name, _ in suite()} | {full for full, _, _ in suite()}
    assert set().union(*MEANT.values()) <= known


def test_the_suite_has_at_least_ninety_tests_each_with_its_promise() -> None:
    tests = {name: getattr(StoreTests, name) for _, name, _ in suite()}
    assert len(tests) >= 90
    assert [name for name, test in tests.items() if not test.__doc__ or "\n" in test.__doc__] == []
    assert len({test.__doc__ for test in tests.values()}) == len(tests)


def test_a_capability_that_is_declared_and_not_kept_is_noticed() -> None:
    async def another() -> Store:
        return ClaimsToBeDurable()

    assert failures(ClaimsToBeDurable, another) == _full_names(MEANT[ClaimsToBeDurable])


def test_a_capability_that_is_kept_and_not_declared_is_noticed() -> None:
    spaces: list[MemoryStore] = []

    def remembers() -> MemoryStore:
        spaces.append(MemoryStore())
        return spaces[-1]

    async def another() -> Store:
        opened = MemoryStore()
        opened._spaces = spaces[-1]._spaces
        return opened

    assert Capability.DURABLE not in remembers().capabilities
    assert failures(remembers, another) == {
        "test_a_durable_store_has_everything_after_it_is_opened_again",
        "test_a_shared_store_is_one_for_all_who_open_it",
    }
