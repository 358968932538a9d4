//! One conformance suite a port: named cases that any adapter must pass, embedded or service.
//!
//! An adapter's author implements the port's factory (how to open the adapter on data of its own, and open it again) and writes
//! `orinoco_ports::conformance_tests!(store, my_factory().await);` in a test module; that expands into one `#[tokio::test]` a case, each
//! with a factory, and so with data, of its own. The author's crate needs tokio with `macros` and `rt-multi-thread`.
//!
//! Invariant: a case asserts what the port's docs say and nothing beyond; where adapters may differ there is a suite of its own
//! (`exact_order_log`, `shared_leases`, `shared_login`, `mqtt_gate`, `mqtt_session`). No case measures time: waits end by an event or by [`DEADLINE`].

// A case fails by a panic that names it.
#![allow(clippy::unwrap_used)]

pub mod accounts;
pub mod clock;
pub mod journal;
pub mod leases;
pub mod log;
pub mod login;
pub mod mqtt;
pub mod store;

/// What an [`MqttSource`](crate::MqttSource) does that devices deliver to directly.
pub mod mqtt_gate {
    pub use super::mqtt::gate::*;
}

/// What an [`MqttSource`](crate::MqttSource) does that is a client of a broker.
pub mod mqtt_session {
    pub use super::mqtt::session::*;
}

/// What [`Leases`](crate::Leases) do that several owners share.
pub mod shared_leases {
    pub use super::leases::sharing::*;
}

/// What a [`LoginStore`](crate::LoginStore) does that several daemons share.
pub mod shared_login {
    pub use super::login::shared::*;
}

/// What a [`RecordLog`](crate::RecordLog) does that keeps the order of writing exactly.
pub mod exact_order_log {
    pub use super::log::order::{
        a_position_between_two_axes_brings_each_record_once, the_order_of_writing_is_kept_across_the_axes,
    };
}

#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

/// After so long, what was waited for is taken for lost. Generous: it only ends cases that have failed already.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for `future`, and fails the case with `what` after [`DEADLINE`].
///
/// # Panics
/// After [`DEADLINE`].
pub async fn within_deadline<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing after {} s", DEADLINE.as_secs()),
    }
}

/// Asks again and again until `attempt` gives a value, and fails the case with `what` after [`DEADLINE`].
///
/// # Panics
/// After [`DEADLINE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    within_deadline(what, async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
    .await
}

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The seed of a case with random steps: `ORINOCO_CONFORMANCE_SEED`, else another one each run. It is printed, so that a failure can
/// be repeated.
///
/// # Panics
/// Where the variable is set and is no number.
#[must_use]
pub fn random_seed(case: &str) -> u64 {
    let seed = match std::env::var("ORINOCO_CONFORMANCE_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    println!("{case}: ORINOCO_CONFORMANCE_SEED={seed}");
    seed
}

/// Expands into the tests of one suite: `conformance_tests!(store, factory)`. The factory's expression is evaluated once a test, in an
/// asynchronous block.
#[macro_export]
macro_rules! conformance_tests {
    (store, $factory:expr) => {
        $crate::conformance_cases! { store, $factory;
            a_new_partition_is_empty_and_has_an_epoch
            a_batch_is_applied_whole
            load_returns_exactly_what_batches_left
            marks_are_merged_by_key
            a_batch_of_the_clock_moves_nothing_in_the_log
            a_state_without_frames_is_kept_and_shows_no_value
            a_replayed_batch_changes_nothing
            a_batch_with_the_wrong_revision_changes_nothing
            a_batch_from_the_wrong_position_changes_nothing
            an_older_owner_is_fenced_off
            an_older_owner_s_stale_batch_is_fenced_off_rather_than_in_conflict
            loading_again_with_the_same_fence_changes_nothing
            of_batches_that_race_exactly_one_is_applied
            an_owner_that_goes_on_writing_can_t_slip_past_the_next_one_s_load
            partitions_don_t_mix
            late_frames_don_t_change_the_latest_value
            a_device_without_a_value_has_no_latest_value
            history_is_bounded_and_contiguous
            history_answers_at_every_edge
            history_follows_a_changed_bound
            history_may_be_switched_off
            a_snapshot_comes_in_pages_and_holds_every_device
            a_snapshot_of_nothing_is_one_empty_page
            a_snapshot_leaves_none_out_while_values_change
            the_epoch_exists_before_any_data_and_is_the_same_everywhere
            callers_that_race_for_the_first_epoch_agree
            everything_is_there_after_reopening
            everything_applied_is_there_after_a_kill
            a_reset_begins_another_epoch_and_clears_the_partition
            a_reset_by_an_older_owner_changes_nothing
            a_reset_outlives_reopening
            publications_come_in_order_and_complete
            batches_that_are_not_applied_publish_nothing
            every_subscriber_gets_every_publication
            a_subscriber_gets_its_own_partition_only
            what_was_published_before_subscribing_is_filled_from_history
            waiting_for_a_publication_may_be_cancelled
            a_subscriber_that_does_not_read_holds_nobody_up
            devices_are_told_apart_by_every_legal_character
            a_partition_holds_ten_thousand_devices
            a_batch_holds_thousands_of_frames
            frames_of_4_kib_are_kept_to_the_letter
            numbers_are_kept_exactly
            a_probe_says_the_version
            any_sequence_of_calls_agrees_with_the_model
        }
    };
    (mqtt, $factory:expr) => {
        $crate::conformance_cases! { mqtt, $factory;
            a_message_arrives_as_it_was_published
            messages_of_each_device_arrive_in_order_and_once
            nothing_is_lost_while_the_link_is_down
            nothing_is_lost_when_links_end_under_load
            a_refused_message_comes_again_and_in_order
        }
    };
    (mqtt_gate, $factory:expr) => {
        $crate::conformance_cases! { mqtt_gate, $factory;
            a_puback_says_that_the_message_was_accepted
            a_message_that_is_held_up_gets_no_puback_and_stops_no_other_device
            a_message_refused_for_want_of_room_is_taken_when_there_is_room
            without_a_link_no_device_is_acknowledged
            topics_of_any_kind_reach_the_intake
        }
    };
    (mqtt_session, $factory:expr) => {
        $crate::conformance_cases! { mqtt_session, $factory;
            what_the_broker_kept_comes_first_and_in_order
            a_redelivery_is_told_by_its_flag_and_its_packet_identifier
            a_lost_connection_is_noticed_and_nothing_is_lost_by_it
            a_broker_that_is_away_is_unavailable_and_named
        }
    };
    (journal, $factory:expr) => {
        $crate::conformance_cases! { journal, $factory;
            sequences_count_from_one
            the_identity_is_legal_and_stays_the_same
            records_of_every_shape_come_back_exactly
            threads_that_append_at_the_same_time_share_the_sequences
            what_was_appended_becomes_durable_for_all_who_wait
            a_reader_that_waits_is_woken_by_the_next_append
            a_reader_follows_a_writer_without_gap_and_repeat
            a_read_starts_behind_the_sequence_it_is_given
            a_read_is_bounded_and_brings_one_record_at_least
            the_tail_is_the_last_records_committed_or_not
            the_tail_is_there_after_reopening
            committing_counts_down_what_is_left
            a_commit_never_goes_back_nor_beyond_the_end
            a_full_journal_refuses_and_has_room_again_after_a_commit
            a_wait_for_room_ends_when_there_is_room
            a_wait_for_room_ends_without_room_as_well
            a_full_journal_is_full_after_reopening_and_keeps_all
            space_is_given_back_while_records_pass_through
            sequences_go_on_after_reopening
            sequences_go_on_after_all_was_committed
            a_commit_is_remembered_and_never_runs_ahead
            what_append_returned_is_there_after_a_kill
        }
    };
    (leases, $factory:expr) => {
        $crate::conformance_cases! { leases, $factory;
            free_leases_are_taken_all_at_once
            a_lease_held_on_keeps_its_epoch
            who_holds_what_is_shown_with_its_epoch
            wanting_nothing_is_allowed
            the_next_run_of_an_owner_takes_over_at_once_with_a_higher_epoch
            a_released_lease_comes_back_with_a_higher_epoch
            releasing_what_is_not_held_is_passed_over
            no_more_is_taken_than_allowed_and_what_is_held_is_renewed_all_the_same
            who_leaves_gives_all_back
            a_probe_of_the_leases_says_the_version
        }
    };
    (shared_leases, $factory:expr) => {
        $crate::conformance_cases! { shared_leases, $factory;
            a_held_lease_is_not_given_to_another
            each_owner_sees_what_the_others_hold
            another_owner_waits_until_a_lease_has_run_out
            a_renewed_lease_does_not_run_out
            a_released_lease_is_had_by_the_next_owner_at_once
            releasing_what_another_holds_is_passed_over
            owners_that_race_never_hold_one_lease_together
            one_owner_that_asks_twice_at_once_gets_one_epoch
            those_who_take_part_know_how_many_they_are_and_in_which_order
            who_is_not_seen_again_takes_part_no_more
        }
    };
    (log, $factory:expr) => {
        $crate::conformance_cases! { log, $factory;
            both_topics_have_the_same_partitions_at_each_call
            records_come_back_as_they_were_written
            offsets_count_per_axis_without_a_gap
            an_identical_call_writes_the_records_again
            partitions_of_the_log_don_t_mix
            partitions_are_written_and_read_at_the_same_time
            a_record_that_is_too_large_is_named_and_stops_nothing_else
            a_probe_of_the_log_says_the_version
            a_fetch_at_the_end_brings_nothing_and_stays_there
            a_fetch_starts_where_it_is_told_on_each_axis
            a_fetch_is_bounded_and_always_brings_something
            a_record_larger_than_the_bound_is_fetched_all_the_same
            a_waiting_fetch_returns_as_soon_as_either_axis_has_a_record
            a_waiting_fetch_does_not_wake_for_another_partition
            a_fetch_that_is_given_up_loses_nothing
            a_position_behind_the_end_is_out_of_range
            a_position_before_the_first_is_out_of_range
            records_of_one_journal_come_in_the_order_of_their_ids
            records_without_ids_come_in_the_order_of_their_times
            the_log_goes_on_after_reopening
            what_was_acknowledged_is_there_after_a_kill
            the_ends_of_the_log_are_remembered_after_retention
            no_dead_letters_are_one_empty_page
            dead_letters_come_back_whole_and_oldest_first
            dead_letters_are_paged_without_gap_and_repeat
            a_reader_at_the_end_finds_later_dead_letters
            dead_letters_are_there_after_reopening_and_after_a_kill
        }
    };
    (accounts, $factory:expr) => {
        $crate::conformance_cases! { accounts, $factory;
            a_new_account_is_found_by_id_and_by_email
            an_unknown_account_is_not_found
            accounts_of_every_legal_shape_are_kept
            an_email_and_an_orin_id_are_taken_once
            of_accounts_that_race_one_is_made
            accounts_are_listed_page_by_page
            a_probe_of_the_accounts_says_the_version
            a_change_is_kept_and_touches_nothing_else
            disabling_ends_a_generation_and_enabling_does_not
            a_password_hash_is_replaced_where_the_expected_one_stands
            of_password_changes_that_race_one_is_done
            every_call_that_ends_a_generation_counts
            a_device_is_bound_where_it_is_free
            of_accounts_that_race_for_a_device_one_gets_it
            changing_an_unknown_account_changes_nothing
            a_device_s_credential_is_kept_and_replaced
            a_revoked_credential_stays_without_a_secret
            a_device_without_a_credential_has_none_to_revoke
            credentials_are_listed_page_by_page_in_the_order_of_bytes
            audit_lines_come_back_whole_and_newest_first
            the_audit_log_forgets_the_oldest_lines
            audit_lines_that_are_appended_at_once_are_all_kept
            accounts_are_there_after_reopening
            accounts_are_there_after_a_kill
        }
    };
    (login, $factory:expr) => {
        $crate::conformance_cases! { login, $factory;
            a_new_challenge_has_the_store_s_times
            an_unknown_challenge_is_not_there
            a_challenge_s_key_is_taken_once
            each_step_is_kept_whole
            a_swap_from_another_version_changes_nothing
            an_exchange_that_loses_begins_no_login
            an_exchange_into_a_login_that_is_there_changes_nothing
            wrong_otc_are_counted_in_the_store
            a_probe_of_the_login_store_says_the_version
            past_its_deadline_a_challenge_can_only_expire
            before_its_deadline_a_challenge_can_t_expire
            the_deadline_that_was_written_last_counts
            a_challenge_that_nobody_ended_is_forgotten_a_minute_after_its_deadline
            a_challenge_that_ended_is_forgotten_a_minute_later
            a_login_is_forgotten_at_its_expiry_whatever_was_rotated
            a_login_is_kept_whole
            an_unknown_login_is_not_there
            a_login_s_id_is_taken_once
            a_rotation_from_another_version_changes_nothing
            a_user_s_logins_are_listed_the_latest_to_end_first
            beyond_the_bound_the_login_that_would_end_first_makes_room
            a_login_that_ended_is_gone_and_no_other
            all_logins_of_a_user_end_and_no_other_s
            a_refresh_never_survives_the_end_of_its_login
            of_a_thousand_exchanges_one_is_done
            of_a_thousand_refreshes_one_successor_comes
            of_those_who_end_a_challenge_at_once_one_wins
            of_challenges_that_race_for_a_key_one_is_made
            changes_of_challenges_are_published_in_order
            what_changes_nothing_publishes_nothing
            ends_of_logins_are_published_with_their_reason
            every_login_subscriber_gets_every_change
            waiting_for_a_change_may_be_cancelled
            a_login_subscriber_that_does_not_read_holds_nobody_up
            challenges_and_logins_are_there_after_reopening
            challenges_and_logins_are_there_after_a_kill
        }
    };
    (shared_login, $factory:expr) => {
        $crate::conformance_cases! { shared_login, $factory;
            what_one_daemon_writes_another_reads_and_hears_of
            of_a_thousand_exchanges_on_two_daemons_one_is_done
            of_a_thousand_refreshes_on_two_daemons_one_successor_comes
            of_those_who_end_a_challenge_on_two_daemons_one_wins
        }
    };
    (exact_order_log, $factory:expr) => {
        $crate::conformance_cases! { exact_order_log, $factory;
            the_order_of_writing_is_kept_across_the_axes
            a_position_between_two_axes_brings_each_record_once
        }
    };
}

/// The part of [`conformance_tests!`] that all suites share.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($suite:ident, $factory:expr; $($case:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let factory = $factory;
                $crate::conformance::$suite::$case(&factory).await;
            }
        )*
    };
}
