"""The kit for blobs itself: each broken store fails exactly the tests that are meant to notice, and no other."""

from __future__ import annotations

import pytest
from broken_blob_stores import (
    AnswersAfterTheClose,
    AnswersEverywhere,
    BlamesItself,
    CannotCreate,
    ClaimsToBeDurable,
    ClaimsToPresign,
    DeletesBelow,
    DiscardsWhatIsThere,
    EmptiesBeforeReplacing,
    EndsQuietly,
    EndsWithTheStore,
    ForgetsIfAbsent,
    HashesOnePiece,
    IgnoresSize,
    IncludesTheEnd,
    KeepsWhatCame,
    KeepsWhatWasCancelled,
    LeavesHalfPuts,
    ListsAnything,
    ListsAsStored,
    ListsByNumber,
    ListsFolders,
    ListsHalfPuts,
    ListsOnePage,
    ListsPatterns,
    LooksBeforeItLeaps,
    LosesFullPieces,
    LosesItsPlaces,
    LosesItsReaders,
    OneAtATime,
    PresignsUndeclared,
    RaisesOnStat,
    ReadsBeforeItLooks,
    ReadsWhatIsThereNow,
    RefusesWhatLiesBeyond,
    ReservesItsKey,
    SharesWhatItIsGiven,
    SwallowsAbsence,
    TagsBySize,
    TakesAnyType,
    TakesLongKeys,
    TakesText,
    TakesUpperCase,
    TellsOfAbsenceLate,
    WalksUp,
    YieldsAllAtOnce,
)
from direct_blob_runs import failures, suite
from presigning_blobs import (
    NeverExpires,
    PresigningBlobs,
    ShowsInline,
    SignsNoKey,
    SignsNoMethod,
    SignsNoSize,
    TakesAnyDuration,
    TrustsNames,
)

from chatstore.blobs.memory import MemoryBlobs
from chatstore.protocols import BlobStore, Capability
from chatstore.testing.blob_suite import BlobTests

MEANT: dict[type[MemoryBlobs], set[str]] = {
    LeavesHalfPuts: {
        "test_a_bad_source_is_refused[a generator that gives text]",
        "test_a_bad_source_is_refused[an async generator that gives text]",
        "test_a_failed_put_can_be_repeated",
        "test_a_half_put_is_seen_by_nobody",
        "test_a_half_put_keeps_nobody_from_writing",
        "test_a_half_replaced_blob_is_the_old_one",
        "test_a_put_cancelled_at_any_moment_is_whole_or_absent",
        "test_a_put_cancelled_in_the_middle_leaves_nothing[1000]",
        "test_a_put_cancelled_in_the_middle_leaves_nothing[11534339]",
        "test_a_replacement_cancelled_at_any_moment_is_old_or_new",
        "test_a_source_may_raise_at_any_point[after a few bytes]",
        "test_a_source_may_raise_at_any_point[after some chunks]",
        "test_a_source_may_raise_at_any_point[after the first parts]",
        "test_a_timeout_around_a_put_leaves_nothing",
        "test_a_wrong_size_of_a_large_blob_is_refused",
        "test_an_endless_source_is_stopped_at_the_declared_size",
        "test_an_error_at_the_declared_end_stores_nothing",
        "test_every_kind_of_source_may_raise",
        "test_fewer_bytes_than_declared_are_refused",
        "test_half_puts_are_not_listed",
        "test_many_cancelled_puts_leave_the_store_usable",
        "test_many_failed_puts_leave_the_store_usable",
        "test_more_bytes_than_declared_are_refused",
        "test_nothing_where_something_was_declared_is_refused",
        "test_readers_of_a_blob_that_changes_see_one_version_each",
        "test_what_a_source_raises_comes_through_as_it_is",
    },
    EmptiesBeforeReplacing: {
        "test_a_bad_content_type_is_refused[put]",
        "test_a_bad_size_is_refused",
        "test_a_bad_source_is_refused",
        "test_a_half_replaced_blob_is_the_old_one",
        "test_a_path_that_is_absent_is_the_callers_error",
        "test_a_put_cancelled_in_the_middle_leaves_nothing",
        "test_a_replacement_cancelled_at_any_moment_is_old_or_new",
        "test_a_source_may_raise_at_any_point",
        "test_a_wrong_size_of_a_large_blob_is_refused",
        "test_an_error_at_the_declared_end_stores_nothing",
        "test_every_kind_of_source_may_raise",
        "test_fewer_bytes_than_declared_are_refused",
        "test_more_bytes_than_declared_are_refused",
        "test_nothing_where_something_was_declared_is_refused",
        "test_readers_of_a_blob_that_changes_see_one_version_each",
        "test_what_a_source_raises_comes_through_as_it_is",
    },
    IgnoresSize: {
        "test_a_failed_create_leaves_its_key_free",
        "test_a_wrong_size_of_a_large_blob_is_refused",
        "test_an_endless_source_is_stopped_at_the_declared_size",
        "test_fewer_bytes_than_declared_are_refused",
        "test_more_bytes_than_declared_are_refused",
        "test_nothing_where_something_was_declared_is_refused",
    },
    HashesOnePiece: {
        "test_a_large_file_is_stored_by_its_path",
        "test_every_kind_of_source_comes_back_exactly",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[1048575]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[1048576]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[1048577]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[16777216]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[262145]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[5242880]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[8388607]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[8388608]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[8388609]",
        "test_twenty_mebibytes_come_back_exactly",
    },
    TagsBySize: {
        "test_the_tag_changes_with_the_content",
    },
    IncludesTheEnd: {
        "test_a_half_replaced_blob_is_the_old_one",
        "test_a_random_history_agrees_with_a_dictionary",
        "test_a_range_is_cut_to_the_blob[0-0]",
        "test_a_range_is_cut_to_the_blob[0-1]",
        "test_a_range_is_cut_to_the_blob[0-9]",
        "test_a_range_is_cut_to_the_blob[3-7]",
        "test_a_range_is_cut_to_the_blob[4-5]",
        "test_a_range_is_cut_to_the_blob[5-5]",
        "test_a_range_may_be_read_in_steps",
        "test_ranges_around_the_borders_of_pieces_are_exact",
        "test_ranges_at_random_are_exact",
    },
    RefusesWhatLiesBeyond: {
        "test_a_random_history_agrees_with_a_dictionary",
        "test_a_range_is_cut_to_the_blob[1000000000000000000-1000000000000000000]",
        "test_a_range_is_cut_to_the_blob[1000000000000000000-None]",
        "test_a_range_is_cut_to_the_blob[11-20]",
        "test_a_range_is_cut_to_the_blob[11-None]",
        "test_every_range_of_an_empty_blob_is_empty[3-5]",
        "test_every_range_of_an_empty_blob_is_empty[3-None]",
    },
    YieldsAllAtOnce: {
        "test_what_is_yielded_is_bytes_in_bounded_chunks",
    },
    LosesFullPieces: {
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[16777216]",
        "test_sizes_at_the_borders_of_pieces_come_back_exactly[8388608]",
    },
    SwallowsAbsence: {
        "test_a_delete_is_final_and_can_be_repeated",
        "test_a_half_put_is_seen_by_nobody",
        "test_a_part_of_a_key_is_absent",
        "test_puts_and_deletes_of_one_key_at_once_leave_it_whole_or_absent",
        "test_what_is_absent_is_a_not_found_error[read]",
    },
    TellsOfAbsenceLate: {
        "test_opening_tells_of_absence_on_entering",
    },
    RaisesOnStat: {
        "test_a_blob_deleted_while_it_is_read_is_never_cut_short",
        "test_a_cancelled_delete_or_listing_leaves_the_store_usable",
        "test_a_delete_is_final_and_can_be_repeated",
        "test_a_failed_put_can_be_repeated",
        "test_a_half_put_is_seen_by_nobody",
        "test_a_part_of_a_key_is_absent",
        "test_a_put_cancelled_at_any_moment_is_whole_or_absent",
        "test_a_put_cancelled_in_the_middle_leaves_nothing",
        "test_a_random_history_agrees_with_a_dictionary",
        "test_a_timeout_around_a_put_leaves_nothing",
        "test_the_longest_key_works_everywhere",
        "test_the_stat_of_what_is_absent_is_none",
    },
    WalksUp: {
        "test_a_bad_key_is_refused[delete]",
        "test_a_bad_key_is_refused[open a range]",
        "test_a_bad_key_is_refused[open]",
        "test_a_bad_key_is_refused[put if absent]",
        "test_a_bad_key_is_refused[put]",
        "test_a_bad_key_is_refused[read]",
        "test_a_bad_key_is_refused[stat]",
        "test_a_bad_key_is_refused_before_the_source_is_touched",
    },
    TakesUpperCase: {
        "test_a_bad_key_is_refused[delete]",
        "test_a_bad_key_is_refused[open a range]",
        "test_a_bad_key_is_refused[open]",
        "test_a_bad_key_is_refused[put if absent]",
        "test_a_bad_key_is_refused[put]",
        "test_a_bad_key_is_refused[read]",
        "test_a_bad_key_is_refused[stat]",
    },
    TakesLongKeys: {
        "test_a_bad_key_is_refused[delete]",
        "test_a_bad_key_is_refused[open a range]",
        "test_a_bad_key_is_refused[open]",
        "test_a_bad_key_is_refused[put if absent]",
        "test_a_bad_key_is_refused[put]",
        "test_a_bad_key_is_refused[read]",
        "test_a_bad_key_is_refused[stat]",
    },
    TakesAnyType: {
        "test_a_bad_content_type_is_refused[put]",
        "test_a_bad_key_is_refused_before_the_source_is_touched",
    },
    ListsAnything: {
        "test_a_prefix_that_is_no_text_is_refused",
    },
    ForgetsIfAbsent: {
        "test_a_create_that_another_put_overtakes_is_a_conflict",
        "test_a_key_that_is_taken_is_a_conflict",
        "test_of_creates_at_once_exactly_one_wins",
    },
    LooksBeforeItLeaps: {
        "test_a_create_that_another_put_overtakes_is_a_conflict",
        "test_of_creates_at_once_exactly_one_wins",
    },
    ReservesItsKey: {
        "test_a_cancelled_create_leaves_its_key_free",
        "test_a_failed_create_leaves_its_key_free",
    },
    ListsAsStored: {
        "test_a_create_under_one_key_does_not_hinder_another",
        "test_a_delete_takes_nothing_else_along",
        "test_a_half_put_is_seen_by_nobody",
        "test_a_prefix_is_the_beginning_of_a_key[a/]",
        "test_a_prefix_is_the_beginning_of_a_key[a/b]",
        "test_a_prefix_is_the_beginning_of_a_key[a]",
        "test_a_random_history_agrees_with_a_dictionary",
        "test_keys_are_listed_in_their_order",
        "test_keys_that_look_alike_are_different",
        "test_many_blobs_are_all_listed_once",
        "test_puts_and_reads_at_once_are_all_answered",
    },
    ListsFolders: {
        "test_a_prefix_is_the_beginning_of_a_key[-]",
        "test_a_prefix_is_the_beginning_of_a_key[9]",
        "test_a_prefix_is_the_beginning_of_a_key[_]",
        "test_a_prefix_is_the_beginning_of_a_key[a-]",
        "test_a_prefix_is_the_beginning_of_a_key[a/b]",
        "test_a_prefix_is_the_beginning_of_a_key[a]",
        "test_a_prefix_is_the_beginning_of_a_key[a_]",
        "test_a_random_history_agrees_with_a_dictionary",
        "test_listing_while_writing_meets_what_stays",
        "test_many_blobs_are_all_listed_once",
        "test_the_longest_key_works_everywhere",
    },
    ListsPatterns: {
        "test_a_prefix_is_the_beginning_of_a_key[_]",
        "test_a_prefix_is_the_beginning_of_a_key[a_]",
        "test_a_prefix_that_no_key_begins_with_leads_nowhere",
        "test_a_random_history_agrees_with_a_dictionary",
    },
    ListsOnePage: {
        "test_many_blobs_are_all_listed_once",
    },
    ListsByNumber: {
        "test_listing_while_deleting_meets_every_blob",
    },
    ListsHalfPuts: {
        "test_a_half_put_is_seen_by_nobody",
        "test_a_half_put_keeps_nobody_from_writing",
        "test_half_puts_are_not_listed",
    },
    SharesWhatItIsGiven: {
        "test_changing_what_was_put_changes_nothing",
    },
    KeepsWhatCame: {
        "test_a_bad_source_is_refused[a dict]",
        "test_a_bad_source_is_refused[a generator that gives text]",
        "test_a_bad_source_is_refused[a list of ints]",
        "test_a_bad_source_is_refused[a list of lists]",
        "test_a_bad_source_is_refused[a list of texts]",
        "test_a_bad_source_is_refused[a text file]",
        "test_a_bad_source_is_refused[an async generator that gives text]",
        "test_a_failed_create_leaves_its_key_free",
        "test_a_path_that_is_absent_is_the_callers_error",
        "test_every_kind_of_source_may_raise",
        "test_what_a_source_raises_comes_through_as_it_is[a connection that is lost]",
        "test_what_a_source_raises_comes_through_as_it_is[a file that is absent]",
        "test_what_a_source_raises_comes_through_as_it_is[a full disk]",
        "test_what_a_source_raises_comes_through_as_it_is[a timeout]",
        "test_what_a_source_raises_comes_through_as_it_is[a value error]",
        "test_what_a_source_raises_comes_through_as_it_is[an error of the library]",
    },
    BlamesItself: {
        "test_a_path_that_is_absent_is_the_callers_error",
        "test_every_kind_of_source_may_raise",
        "test_what_a_source_raises_comes_through_as_it_is[a connection that is lost]",
        "test_what_a_source_raises_comes_through_as_it_is[a file that is absent]",
        "test_what_a_source_raises_comes_through_as_it_is[a full disk]",
        "test_what_a_source_raises_comes_through_as_it_is[a timeout]",
    },
    KeepsWhatWasCancelled: {
        "test_a_cancelled_create_leaves_its_key_free",
        "test_a_put_cancelled_at_any_moment_is_whole_or_absent",
        "test_a_put_cancelled_in_the_middle_leaves_nothing",
        "test_a_replacement_cancelled_at_any_moment_is_old_or_new",
        "test_a_timeout_around_a_put_leaves_nothing",
        "test_half_puts_are_not_listed",
        "test_many_cancelled_puts_leave_the_store_usable",
    },
    ReadsWhatIsThereNow: {
        "test_a_blob_replaced_while_it_is_read_is_never_a_mixture",
    },
    EndsQuietly: {
        "test_a_blob_deleted_while_it_is_read_is_never_cut_short",
    },
    EndsWithTheStore: {
        "test_a_reader_that_outlives_the_store_is_never_cut_short",
    },
    DeletesBelow: {
        "test_a_delete_takes_nothing_else_along",
        "test_a_part_of_a_key_is_absent",
        "test_a_random_history_agrees_with_a_dictionary",
    },
    TakesText: {
        "test_a_bad_source_is_refused[a list of texts]",
    },
    ReadsBeforeItLooks: {
        "test_a_bad_key_is_refused_before_the_source_is_touched",
        "test_every_kind_of_source_comes_back_exactly[generator with one buffer]",
        "test_every_kind_of_source_may_have_its_size_declared[generator with one buffer]",
        "test_every_kind_of_source_may_raise[a file]",
    },
    LosesItsPlaces: {
        "test_many_cancelled_puts_leave_the_store_usable",
        "test_many_failed_puts_leave_the_store_usable",
    },
    LosesItsReaders: {
        "test_a_reader_may_stop_early",
        "test_many_readers_cancelled_in_the_middle_leave_the_store_usable",
    },
    OneAtATime: {
        "test_a_create_that_another_put_overtakes_is_a_conflict",
        "test_a_half_put_keeps_nobody_from_writing",
        "test_half_puts_are_not_listed",
        "test_of_two_puts_to_one_key_the_one_that_ends_last_stays",
    },
    AnswersAfterTheClose: {
        "test_after_the_close_every_call_is_a_closed_error",
        "test_closing_twice_is_fine",
        "test_leaving_the_block_of_a_store_closes_it",
    },
    AnswersEverywhere: {
        "test_a_second_event_loop_is_refused",
    },
    ClaimsToBeDurable: {
        "test_a_create_is_conditional_for_all_who_open_the_store",
        "test_a_durable_store_has_everything_after_it_is_opened_again",
        "test_a_durable_store_has_no_half_puts_after_it_is_opened_again",
        "test_a_durable_store_keeps_what_was_acknowledged_beside_a_close",
        "test_a_shared_store_is_one_for_all_who_open_it",
    },
    ClaimsToPresign: {
        "test_a_bad_content_type_is_refused[presign_put]",
        "test_a_bad_duration_is_refused",
        "test_a_bad_key_is_refused[presign_get]",
        "test_a_bad_key_is_refused[presign_put]",
        "test_a_bad_size_of_a_presigned_put_is_refused",
        "test_a_download_name_is_a_name_and_nothing_else",
        "test_a_presigned_get_fetches_the_blob",
        "test_a_presigned_get_may_be_sent_again_until_it_expires",
        "test_a_presigned_get_of_what_is_absent_is_an_http_error",
        "test_a_presigned_put_may_be_empty",
        "test_a_presigned_put_of_another_size_is_refused",
        "test_a_presigned_put_stores_the_blob",
        "test_a_request_for_one_blob_is_no_request_for_another",
        "test_a_request_to_read_does_not_write",
        "test_a_request_to_write_does_not_read",
        "test_a_second_event_loop_is_refused",
        "test_after_the_close_every_call_is_a_closed_error",
        "test_an_expired_request_is_refused",
        "test_seven_days_are_allowed",
    },
    DiscardsWhatIsThere: {
        "test_discarding_takes_nothing_from_uploads_under_way",
    },
    PresignsUndeclared: {
        "test_a_bad_duration_is_refused[presign_get]",
        "test_a_presigned_get_fetches_the_blob",
    },
    SignsNoKey: {
        "test_a_request_for_one_blob_is_no_request_for_another",
    },
    SignsNoMethod: {
        "test_a_request_to_read_does_not_write",
        "test_a_request_to_write_does_not_read",
    },
    SignsNoSize: {
        "test_a_presigned_put_of_another_size_is_refused",
    },
    NeverExpires: {
        "test_an_expired_request_is_refused",
    },
    TakesAnyDuration: {
        "test_a_bad_duration_is_refused",
    },
    TrustsNames: {
        "test_a_download_name_is_a_name_and_nothing_else[control characters]",
        "test_a_download_name_is_a_name_and_nothing_else[from right to left]",
        "test_a_download_name_is_a_name_and_nothing_else[line ends]",
        "test_a_download_name_is_a_name_and_nothing_else[quotes]",
        "test_a_download_name_is_a_name_and_nothing_else[unicode]",
    },
    ShowsInline: {
        "test_a_download_name_is_a_name_and_nothing_else",
    },
}
"""The tests meant for each broken store; without parameters, every one of that name."""

GIVEN_UP_AFTER: dict[type[MemoryBlobs], float] = {OneAtATime: 1.0, NeverExpires: 2.0}
"""After how many seconds the tests meant for a store fail that waits for what never comes; no other test hurries."""


def _full_names(names: set[str]) -> set[str]:
    return {full for full, name, _ in suite() if full in names or name in names}


@pytest.mark.parametrize("sound", [MemoryBlobs, PresigningBlobs, CannotCreate])
def test_a_sound_store_fails_nothing(sound: type[MemoryBlobs]) -> None:
    assert failures(sound) == set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # some leave a file open as well
@pytest.mark.parametrize("broken", MEANT)
def test_a_broken_store_fails_exactly_the_tests_meant_for_it(broken: type[MemoryBlobs]) -> None:
    meant = _full_names(MEANT[broken])
    waiting = dict.fromkeys(meant, GIVEN_UP_AFTER[broken]) if broken in GIVEN_UP_AFTER else {}
    assert failures(broken, waiting=waiting) == meant


def test_every_name_in_the_table_is_a_test() -> None:
    known = {name for full, name, _ in suite()} | {full for full, _, _ in suite()}
    assert set().union(*MEANT.values()) <= known


def test_the_suite_has_at_least_eighty_tests_each_with_its_promise() -> None:
    tests = {name: getattr(BlobTests, name) for _, name, _ in suite()}
    assert len(tests) >= 80
    assert [name for name, test in tests.items() if not test.__doc__ or "\n" in test.__doc__] == []
    assert len({test.__doc__ for test in tests.values()}) == len(tests)


def test_a_capability_that_is_declared_and_not_kept_is_noticed() -> None:
    async def another() -> BlobStore:
        return ClaimsToBeDurable()

    assert failures(ClaimsToBeDurable, another) == _full_names(MEANT[ClaimsToBeDurable])


def test_a_capability_that_is_kept_and_not_declared_is_noticed() -> None:
    opened: list[MemoryBlobs] = []

    def remembers() -> MemoryBlobs:
        opened.append(MemoryBlobs())
        return opened[-1]

    async def another() -> BlobStore:
        again = MemoryBlobs()
        again._blobs = opened[-1]._blobs
        return again

    assert Capability.DURABLE not in remembers().capabilities
    assert failures(remembers, another) == {
        "test_a_durable_store_has_everything_after_it_is_opened_again",
        "test_a_shared_store_is_one_for_all_who_open_it",
    }
