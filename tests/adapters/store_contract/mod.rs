//! The persistence port's contract, over every store, and what each store promises beyond it (`design::persistence`).

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod embedded;
mod laws;
mod memory;
mod redis_audit;
mod redis_layout;
mod redis_lease;
mod redis_outage;
mod redis_places;

/// Makes a test of every law for every store.
macro_rules! laws_over_every_store {
    ($($law:ident,)+) => {
        laws_over_every_store!(@ memory_keeps, crate::stores::Memory, $($law,)+);
        laws_over_every_store!(@ embedded_keeps, crate::stores::Embedded, $($law,)+);
        laws_over_every_store!(@ redis_keeps, crate::stores::Redis, $($law,)+);
    };
    (@ $module:ident, $world:ty, $($law:ident,)+) => {
        mod $module {
            $(#[tokio::test]
            async fn $law() {
                use crate::stores::World;
                crate::store_contract::laws::$law(&<$world>::new()).await;
            })+
        }
    };
}

laws_over_every_store! {
    what_is_put_comes_back_byte_for_byte,
    paging_leaves_nothing_out,
    paging_leaves_nothing_out_while_others_come_and_go,
    the_last_write_to_a_sandbox_wins_within_a_batch,
    what_is_buried_is_a_tombstone_until_it_expires,
    what_is_buried_can_live_again,
    what_is_forgotten_leaves_the_set_and_keeps_its_record,
    one_that_lives_is_read_by_itself_and_nothing_else_is,
    what_is_in_quarantine_comes_back_byte_for_byte,
    a_batch_of_many_thousand_writes_is_applied_whole,
    what_was_written_is_there_after_a_restart,
    a_second_supervisor_is_told_who_holds_the_lease,
    a_released_lease_can_be_taken_at_once,
    a_clean_stop_is_told_to_the_next_one_and_to_nobody_after_it,
    a_stop_that_is_not_known_to_be_clean_is_not_told_as_one,
    a_standby_takes_the_lease_when_it_is_given_back_and_disturbs_nobody_before,
    a_standby_takes_a_free_lease_at_once,
    nothing_is_written_without_the_lease,
    nothing_is_written_after_the_lease_was_given_back,
    nothing_is_written_after_the_lease_was_taken_away,
    taking_and_keeping_the_lease_again_changes_nothing,
    a_batch_of_nothing_is_fine,
    what_lives_and_has_no_record_is_missing_and_nothing_else,
    the_grace_that_is_used_up_is_told_to_the_next_one_until_a_run_outlives_it,
    a_store_keeps_its_id_and_no_other_store_has_it,
    a_cursor_of_somebody_else_is_no_empty_page,
}
