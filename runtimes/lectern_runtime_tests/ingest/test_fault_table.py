"""Which test shows what becomes of each kind of bad input, source by source; where a kind cannot be, why not."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from lectern_runtime.ingest.connectors import CONNECTORS

HERE = Path(__file__).parent
PLACES = {
    "": HERE,
    "adapters": HERE.parent / "adapters",
    "contracts": HERE.parent / "contracts",
    "receiver": HERE / "receiver",
    "e2e": HERE.parents[2] / "e2e" / "adapter_tests",
}
FAULTS = (
    "bytes or lists without end",
    "a wrong length",
    "another type than is said",
    "names with newlines or of 4 KB",
    "links and lists in a circle",
    "a change while it is read",
    "a source that vanishes in the middle of a run",
    "a clock that jumps",
    "bytes that are not those of their digest",
)
CANNOT = "cannot: "
BAD, RUN = "test_bad_sources.py", "contracts/connector_contract.py"
VANISHES = f"{RUN}::test_a_source_that_breaks_down_in_the_middle_of_a_run_deletes_nothing"
JUMPS = f"{BAD}::test_a_run_during_which_the_clock_jumps_hands_over_the_same"
NAMES = f"{BAD}::test_names_of_any_text_harm_no_other_document"
DIGEST = (
    "contracts/blob_contract.py::test_damaged_bytes_are_never_given_out_and_heal_when_put_again "
    f"{BAD}::test_a_blob_whose_hash_does_not_match_is_a_dead_letter_until_the_source_is_read_whole"
)
BY_CLOUD = "test_cloud_rest.py::test_an_answer_"
TABLE = {
    "persistentVolume": (
        "test_persistent_volume.py::test_pipes_and_sockets_are_told_and_never_waited_for",
        "test_persistent_volume.py::test_a_file_that_grows_while_it_is_read_is_not_taken",
        "test_rules.py::test_media_types_by_content",
        f"test_persistent_volume.py::test_odd_names_are_documents_and_undecodable_ones_are_told {NAMES}",
        "test_persistent_volume.py::test_links_are_read_inside_the_source_and_refused_outside",
        "test_persistent_volume.py::test_a_file_that_grows_while_it_is_read_is_not_taken",
        f"{BAD}::test_a_volume_that_goes_away_while_it_is_walked_keeps_what_was_not_seen {VANISHES}",
        f"{BAD}::test_a_file_of_the_future_is_read_every_time {JUMPS}",
        DIGEST,
    ),
    "s3": (
        "adapters/test_s3_parts.py::test_of_a_body_no_more_is_read_than_asked_for "
        "adapters/test_s3_parts.py::test_an_endless_refusal_and_an_endless_listing_end",
        "adapters/test_s3_parts.py::test_a_fault_that_passes_is_not_noticed "
        "adapters/test_s3_parts.py::test_a_listing_that_does_not_end_well_is_an_error",
        "test_s3.py::test_faults_of_one_document_are_told_by_reason",
        f"e2e/test_s3_connector.py::test_odd_keys_are_documents_like_others {NAMES}",
        "adapters/test_s3_parts.py::test_a_listing_that_does_not_end_well_is_an_error",
        "e2e/test_s3_connector.py::test_a_document_that_changed_or_went_after_it_was_listed_is_not_taken",
        f"e2e/test_s3_connector.py::test_a_bucket_that_vanishes_while_it_is_listed_ends_the_listing {VANISHES}",
        "test_s3.py::test_faults_of_the_source_end_the_run",
        f"e2e/test_s3_connector.py::test_an_etag_changes_with_the_bytes_and_with_nothing_else {DIGEST}",
    ),
    "git": (
        "test_git.py::test_a_file_over_the_bound_fails_alone_and_is_not_brought_here_whole "
        "test_git.py::test_a_remote_that_does_not_answer_is_given_up_in_time",
        f"{BAD}::test_bytes_that_git_did_not_name_are_not_taken",
        "test_git.py::test_a_pointer_of_git_lfs_is_told",
        f"{BAD}::test_a_path_of_four_kilobytes_is_read_from_a_repository",
        "test_git.py::test_files_of_one_folder_are_listed_below_it_with_links_and_submodules_told",
        "test_git.py::test_a_forced_push_is_read_as_it_is_now",
        VANISHES,
        CANNOT + "no clock is asked: a change is another commit",
        f"{BAD}::test_bytes_that_git_did_not_name_are_not_taken {DIGEST}",
    ),
    "googleDrive": (
        f"{BY_CLOUD}without_end_is_cut_off {BY_CLOUD}that_never_ends_is_given_up",
        f"{BY_CLOUD}that_is_shorter_than_it_says_is_asked_again_and_given_up "
        "test_cloud_rest.py::test_of_an_answer_that_is_longer_than_it_says_the_rest_is_left_out",
        f"{BY_CLOUD}of_no_use_is_told",
        f"{BAD}::test_a_name_of_any_text_is_read_from_a_cloud",
        f"{BAD}::test_a_list_of_drive_that_leads_to_itself_ends "
        f"{BAD}::test_a_folder_of_drive_that_lies_in_itself_is_walked_once "
        f"{BAD}::test_a_file_below_folders_that_lie_in_each_other_lies_nowhere",
        "test_google_drive.py::test_a_change_during_the_first_listing_is_told_by_the_second",
        VANISHES,
        "test_cloud_rest.py::test_a_clock_that_jumps_costs_at_most_one_more_token",
        DIGEST,
    ),
    "sharePoint": (
        f"{BY_CLOUD}without_end_is_cut_off {BY_CLOUD}that_never_ends_is_given_up",
        f"{BY_CLOUD}that_is_shorter_than_it_says_is_asked_again_and_given_up "
        "test_cloud_rest.py::test_of_an_answer_that_is_longer_than_it_says_the_rest_is_left_out",
        f"{BY_CLOUD}of_no_use_is_told",
        f"{BAD}::test_a_name_of_any_text_is_read_from_a_cloud",
        f"{BAD}::test_a_list_of_sharepoint_that_leads_to_itself_ends",
        "test_share_point.py::test_of_what_a_list_says_twice_the_last_counts",
        VANISHES,
        "test_cloud_rest.py::test_a_clock_that_jumps_costs_at_most_one_more_token",
        DIGEST,
    ),
    "http": (
        "test_http_manners.py::test_answers_that_end_early_or_never_are_given_up",
        "test_http_manners.py::test_answers_that_end_early_or_never_are_given_up",
        "test_http_connector.py::test_what_links_lead_to_of_other_types_is_no_document_and_its_body_is_not_read "
        "test_http_rules.py::test_what_is_no_sitemap_is_told",
        f"test_http_rules.py::test_what_is_no_web_address_is_refused {NAMES}",
        "test_ssrf.py::test_a_chain_of_redirects_ends",
        "test_http_contract.py::test_a_page_that_vanished_is_read_as_it_was_until_the_next_listing",
        f"test_http_runs.py::test_a_server_that_stops_in_the_middle_of_a_run_deletes_nothing {VANISHES}",
        "test_retries.py::test_a_pause_that_is_asked_for_is_kept_and_too_long_a_one_ends_the_call",
        f"test_http_bytes.py::test_unpacking_stops_at_the_limit_and_at_damage {DIGEST}",
    ),
    "wikipedia": (
        "test_wikipedia.py::test_faults_of_one_article_are_its_own",
        "test_http_manners.py::test_answers_that_end_early_or_never_are_given_up",
        "test_wikipedia.py::test_what_is_no_mediawiki_is_told",
        "test_wikipedia.py::test_long_titles_are_asked_for_in_requests_that_a_server_takes",
        f"{BAD}::test_a_category_that_does_not_end_is_no_listing",
        "test_wikipedia.py::test_titles_are_listed_by_revision_and_url_and_read_as_html_under_their_title",
        VANISHES,
        CANNOT + "no clock is asked but for the pauses that http keeps as well: a change is another revision",
        DIGEST,
    ),
    "push": (
        "receiver/test_bounds.py::test_a_body_that_dawdles_is_cut_off_and_leaves_its_place",
        "receiver/test_bounds.py::test_a_body_has_room_for_what_the_source_takes_and_no_more",
        "receiver/test_bounds.py::test_no_json_does_anything_but_fit_or_be_refused_with_fields",
        "receiver/test_bounds.py::test_a_body_that_does_not_fit_is_refused_with_the_field",
        CANNOT + "nothing is followed",
        CANNOT + "a body is taken whole before anything is done with it",
        "receiver/test_faults.py::test_a_log_that_is_away_takes_nothing",
        "receiver/test_runs.py::test_runs_are_forgotten_by_number_size_and_age",
        f"receiver/test_documents.py::test_bytes_that_the_blob_store_lost_are_taken_again {DIGEST}",
    ),
}


@cache
def functions_of(place: str) -> frozenset[str]:
    folder, _, name = place.rpartition("/")
    tree = ast.parse((PLACES[folder] / name).read_text())
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_source_has_a_cell_for_every_fault() -> None:
    assert sorted(TABLE) == sorted([*CONNECTORS, "push"])
    assert {kind: len(cells) for kind, cells in TABLE.items()} == dict.fromkeys(TABLE, len(FAULTS))


@pytest.mark.parametrize("kind", TABLE)
def test_every_cell_names_tests_that_are_there_or_says_why_there_is_none(kind: str) -> None:
    named = [test for cell in TABLE[kind] if not cell.startswith(CANNOT) for test in cell.split()]
    places = [test.split("::") for test in named]
    assert [f"{place}::{name}" for place, name in places if name not in functions_of(place)] == []
