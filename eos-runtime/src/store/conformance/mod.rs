//! What every store must do, said once and run against each: the conformance suite.
//!
//! A test is a sentence and a function over a [`Harness`], which is one database's way of being set up and disturbed.
//! [`suite!`] lists the tests, each under the file that keeps its promise. Stores that need a server read its address
//! from `EOS_TEST_POSTGRES` or `EOS_TEST_MYSQL` (`scripts/services env` prints both) and fail without it.

mod chains;
mod claims;
mod dead_letters;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod doubts;
mod drops;
mod groups;
mod harness;
mod ids;
mod moves;
mod outbox;
mod parking;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod proxy;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod sleepers;
mod slots;
mod strays;
mod tables;
mod takes;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod waits;

/// Every sentence, for one store.
macro_rules! suite {
    ($harness:ty) => {
        sentences! { $harness;
            claims {
                a_fresh_record_moves_the_position_and_fills_the_inbox
                an_id_seen_before_is_a_duplicate
                the_same_id_on_another_partition_is_a_duplicate
                an_id_in_flight_elsewhere_is_waited_for
                an_id_in_flight_elsewhere_that_rolls_back_is_fresh
                the_same_id_in_another_group_is_fresh
                ids_of_any_bytes_are_told_apart
                without_an_id_the_position_alone_dedupes
                an_owner_that_was_replaced_is_fenced_before_its_handler
                a_lost_tail_is_not_jumped_over
                a_position_set_forward_is_not_claimed_either
                offsets_may_have_gaps
                every_isolation_level_claims_handles_and_commits
                groups_topics_and_case_are_told_apart
            }
            dead_letters {
                a_record_set_aside_is_kept_byte_for_byte_and_its_position_moves
                an_id_that_is_dead_is_a_duplicate_from_then_on
                a_record_that_is_not_set_aside_in_the_end_leaves_nothing
                attempts_are_remembered_by_the_next_owner_until_the_record_is_done
                an_attempt_that_fails_leaves_what_was_counted
                an_owner_that_was_replaced_counts_nothing
                an_owner_whose_position_went_back_counts_nothing
                what_is_meant_is_listed_and_nothing_else
                a_replay_is_done_once_with_its_id_and_moves_no_position
                a_replay_of_a_record_without_an_id_is_done_once
                a_replay_whose_id_was_done_meanwhile_handles_nothing
                a_replay_whose_id_was_forgotten_remembers_it_again
                a_replay_that_fails_leaves_it_wanted_and_dead_when_it_is_said
                a_replay_by_an_owner_that_was_replaced_is_fenced
                a_stray_rollback_in_a_replay_is_found_out
                a_payload_that_is_changed_keeps_the_one_that_came
            }
            parking {
                what_is_parked_is_read_in_its_order_with_its_keys
                an_id_that_is_parked_is_a_duplicate_from_then_on
                a_parked_record_that_is_handled_is_gone_with_its_effects
                a_parked_record_that_fails_stays_with_what_is_said_of_it
                what_a_replaced_owner_says_of_a_parked_record_counts_nothing
                a_stray_rollback_of_a_parked_record_is_found_out
                a_stray_commit_of_a_parked_record_stops_its_partition
                what_is_wanted_now_is_heard_of
            }
            ids {
                an_id_is_anothers_while_it_is_claimed_and_done_once_it_is_marked
                a_claim_that_is_given_back_is_anybodys
                a_claim_whose_lease_has_run_out_is_taken_over_and_its_owner_is_told
                a_claim_whose_lease_has_run_out_is_its_owners_until_somebody_takes_it
                a_claim_that_was_forgotten_is_made_again_by_its_renewal
                an_id_is_known_within_its_group_and_topic
                claimed_ids_of_any_bytes_are_told_apart
                what_is_done_is_done_for_a_transactional_listener_too
                of_many_who_claim_at_the_same_time_one_has_it
                however_claims_and_marks_meet_each_id_is_run_once
                claims_that_nobody_came_back_for_are_swept
            }
            groups {
                a_group_moves_the_position_once_and_fills_the_inbox
                a_group_says_which_ids_were_seen_before
                a_group_of_nothing_but_records_without_ids_moves_the_position
                a_group_that_is_rolled_back_leaves_nothing
                a_group_by_an_owner_that_was_replaced_is_fenced
                a_lost_tail_is_not_jumped_over_by_a_group
                an_id_in_flight_elsewhere_is_never_handled_twice_by_a_group
                a_stray_rollback_in_a_group_is_found_out
                a_group_at_every_isolation_level_commits
            }
            takes {
                the_first_take_makes_the_row_at_the_start_it_was_given
                a_later_take_keeps_the_position_and_raises_the_epoch
                the_last_record_and_the_cluster_are_remembered
                a_take_waits_for_the_attempt_in_flight_and_gets_its_position
                a_take_gets_the_old_position_when_the_attempt_rolls_back
                a_healthy_attempt_is_not_ended_by_a_taker
                a_second_taker_in_the_queue_is_not_ended
                standings_answer_for_each_hold_in_order
                a_row_that_is_gone_fences
                a_row_that_was_disowned_remembers_a_record_that_no_log_has
                a_stream_remembers_how_many_partitions_there_were_first
                streams_made_at_the_same_time_are_one
                takes_at_the_same_time_each_get_their_epoch
                positions_are_listed_in_order_with_what_is_known_of_them
            }
            slots {
                a_partition_is_one_slot_until_it_is_split
                a_split_gives_each_slot_a_row_where_the_partition_was
                each_slot_moves_by_itself
                slots_that_stand_apart_go_to_the_highest
                a_split_that_was_overtaken_does_nothing
                an_owner_of_before_a_split_is_fenced
                what_is_parked_is_tried_by_the_owner_of_its_slot
                a_split_partition_is_listed_and_moved_as_one
            }
            moves {
                a_reset_sets_the_position_and_forgets_what_was_known_of_the_log
                a_reset_of_a_group_that_never_ran_makes_its_rows
                an_owner_that_slept_through_a_reset_is_fenced
                a_reset_waits_for_the_attempt_in_flight
                a_row_that_was_taken_meanwhile_is_not_set_down
                a_reset_that_is_overtaken_says_so_and_moves_nothing
                a_reset_forgets_the_ids_that_are_done_and_only_those
                a_reset_that_forgets_nothing_keeps_every_id
                ids_are_forgotten_and_copied_in_every_stretch
                a_copy_goes_on_where_the_first_group_ended
                a_copy_over_positions_has_to_say_so
                a_copy_fences_who_slept_in_either_group
            }
            strays {
                an_ignored_sql_error_ends_as_the_database_has_it
                a_stray_commit_is_found_out
                a_stray_rollback_is_found_out_and_nothing_moves
                a_stray_rollback_and_begin_is_found_out_and_nothing_moves
                transaction_statements_are_refused_with_what_to_use
                a_savepoint_rolls_back_alone
                a_savepoint_left_open_rolls_back_alone
                a_handlers_session_settings_do_not_mislead_the_end
            }
            chains {
                a_chain_of_attempts_commits_each
                a_chained_commit_that_strayed_commits_nothing_more
                a_deferred_constraint_fails_the_commit_and_not_the_next_claim
                a_next_claim_that_fails_leaves_the_commit_standing
                a_next_claim_that_is_not_ours_leaves_the_commit_standing
                a_chain_finds_duplicates
                a_connection_given_back_is_clean
                a_rollback_leaves_nothing_and_the_session_goes_on
                dropping_an_attempt_rolls_it_back
                an_attempt_that_is_abandoned_lets_go_of_its_row
            }
            drops {
                a_commit_that_was_dropped_is_settled_by_taking_again
                an_attempt_dropped_at_any_moment_loses_nothing_and_doubles_nothing
            }
            outbox {
                what_is_published_is_there_after_the_commit_in_its_order
                what_is_rolled_back_was_never_published
                a_savepoint_that_is_rolled_back_takes_its_events_with_it
                a_listeners_events_commit_with_its_position
                an_attempt_that_fails_publishes_nothing
                a_listeners_ids_are_the_same_when_the_record_is_handled_again
                a_service_that_swallows_an_sql_error_is_not_told_that_it_committed
                a_method_that_failed_in_a_joined_transaction_forbids_its_commit
                a_method_that_failed_in_a_savepoint_forbids_nothing_more
                keys_payloads_and_headers_of_any_bytes_are_kept
                rows_of_others_need_debeziums_columns_alone
                what_has_the_same_key_is_in_the_same_slot
                many_events_of_one_transaction_keep_their_order
                the_depth_is_of_what_waits_and_not_of_what_was_refused_or_is_kept
            }
            tables {
                making_the_tables_twice_changes_nothing
                checking_says_what_is_missing
                many_processes_may_make_the_tables_at_once
                the_sweep_deletes_what_is_old_and_nothing_else
                the_sweep_comes_to_an_end
                tables_of_an_earlier_version_keep_what_they_have
            }
        }
    };
}

/// And what has a meaning only where the database is a server of its own.
#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! server_suite {
    ($harness:ty) => {
        sentences! { $harness;
            waits {
                a_claim_that_waited_for_a_new_owner_is_fenced
                a_claim_that_waited_for_a_lower_position_does_not_jump_over_it
                a_claim_that_waited_for_a_row_to_be_removed_is_fenced
                a_claim_of_an_id_that_waited_for_its_mark_finds_what_it_marked
                a_split_waits_for_no_row_of_others
            }
            doubts {
                a_commit_whose_answer_was_lost_stands
                a_commit_that_never_arrived_does_not
                a_chained_commit_whose_answer_was_lost_stands
                a_chained_commit_that_never_arrived_does_not
                a_mark_whose_answer_was_lost_stands_and_one_that_was_lost_does_not
            }
            sleepers {
                a_sleeping_owner_is_ended_past_its_deadline_and_writes_nothing
                two_takers_behind_a_sleeping_owner_both_come_through
                takers_with_the_whole_pool_in_their_hands_still_end_a_sleeping_owner
                a_sleeping_owner_is_ended_by_the_servers_own_timeout
                a_statement_past_the_deadline_is_cut_off
                an_attempt_with_a_longer_deadline_than_the_takers_is_not_ended
                a_strangers_lock_is_waited_for_and_the_stranger_lives
            }
        }
    };
}

/// A test function for each sentence.
macro_rules! sentences {
    ($harness:ty; $($file:ident { $($test:ident)* })*) => { $(
        mod $file {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::store::conformance::harness::with::<$harness, _>(
                        $crate::store::conformance::$file::$test::<$harness>
                    ).await;
                }
            )*
        }
    )* };
}

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
