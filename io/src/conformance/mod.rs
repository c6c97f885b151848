//! One suite that every backend must pass, so that the simulated world cannot drift from the real one.
//!
//! A case is a generic async function over a [`Ground`] and panics when the backend is wrong. Its
//! name says the place, the condition and what holds. [`cases`] lists them all by name;
//! [`conformance_suite!`](crate::conformance_suite) makes a test of each:
//!
//! ```ignore
//! fn run<C, F>(case: C) where C: FnOnce(Ground<MyIo>) -> F, F: Future<Output = ()> + Send + 'static { .. }
//! ottla_io::conformance_suite!(run);
//! ```
//!
//! Cases wait on the backend's own clock and bound every wait that a wrong backend would make
//! endless, so a fault fails a test rather than hanging it.

#![expect(
    clippy::unwrap_used,
    reason = "a case is a test: it fails by panicking"
)]
#![allow(missing_docs, reason = "the name of a case says it all")]

pub mod clock;
pub mod disk;
pub mod net;
pub mod task;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::Io;

/// Longer than anything that a case waits for takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a case runs.
#[derive(Clone, Debug)]
pub struct Ground<I> {
    /// The node under test.
    pub io: I,
    /// A node that connects to it over the network: another one, or the same.
    pub peer: I,
    /// An empty directory on `io`'s disk, for this case alone.
    pub folder: PathBuf,
    /// An address of `io` that `peer` reaches.
    pub address: IpAddr,
}

impl<I> Ground<I> {
    fn any_port(&self) -> SocketAddr {
        SocketAddr::new(self.address, 0)
    }
}

/// A case, ready to run.
pub type Case<I> = fn(Ground<I>) -> BoxFuture<'static, ()>;

/// Calls a macro with every case: `module { name name ... } ...`.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($call:ident $(, $with:tt)*) => {
        $crate::$call! {
            [$($with)*]
            disk {
                what_is_written_is_read
                pieces_are_written_one_after_the_other
                more_pieces_than_one_call_takes_are_all_written
                write_in_the_middle_leaves_the_rest
                write_beyond_the_end_leaves_zeros
                empty_write_changes_nothing
                read_past_the_end_is_short
                read_of_nothing_is_empty
                large_read_is_whole
                durable_write_is_read
                durable_write_of_many_pieces_is_whole
                sync_of_an_untouched_file_succeeds
                truncate_cuts
                truncate_extends_with_zeros
                a_byte_more_and_a_byte_less_leave_a_file_as_it_was
                clones_share_one_file
                two_handles_see_one_file
                map_shows_the_bytes
                map_of_nothing_is_empty
                map_beyond_the_end_is_refused
                map_outlives_the_name_and_the_handle
                open_for_reading_refuses_what_is_missing
                open_read_write_refuses_what_is_missing
                open_create_keeps_what_exists
                open_create_new_refuses_what_exists
                open_in_a_missing_folder_is_refused
                open_of_a_folder_is_refused
                write_through_a_reading_handle_is_refused
                rename_replaces
                rename_of_what_is_missing_is_refused
                rename_moves_a_folder_with_what_is_in_it
                renamed_file_stays_writable_through_its_handle
                removed_file_stays_readable_through_its_handle
                removed_name_may_be_made_anew
                remove_of_what_is_missing_is_refused
                remove_dir_all_takes_all_with_it
                create_dir_all_makes_parents_and_may_be_repeated
                list_is_sorted_and_tells_files_from_folders
                list_of_what_is_missing_is_refused
                metadata_tells_length_and_kind
                metadata_of_what_is_missing_is_refused
                sync_dir_succeeds_and_needs_a_folder
                free_and_total_space_are_told
                a_held_lock_refuses_a_second
                a_dropped_lock_may_be_taken
                read_gives_the_whole_file
                replace_puts_all_or_nothing_and_cleans_up
                replace_overwrites_a_stale_temporary_file
                writes_at_once_to_separate_places_all_arrive
            }
            net {
                bytes_go_both_ways
                port_zero_picks_a_free_one
                both_ends_know_both_addresses
                connect_to_nobody_is_refused
                a_taken_port_is_refused
                a_dropped_listener_refuses
                a_closed_port_may_be_bound_again
                connections_wait_to_be_accepted
                many_connections_stay_apart
                a_dropped_stream_reads_as_the_end
                half_close_lets_the_other_way_go_on
                what_was_sent_before_the_close_arrives
                reset_is_seen_by_the_peer
                reset_in_the_middle_of_a_transfer_is_no_clean_end
                write_after_the_peers_reset_fails
                write_to_a_peer_that_is_gone_fails
                large_transfer_arrives_whole_and_in_order
                vectored_write_arrives_in_order
                writes_push_back_when_nobody_reads
                a_reader_lets_a_pushed_back_writer_go_on
                a_dropped_read_loses_nothing
                an_address_as_text_resolves_to_itself
            }
            clock {
                monotonic_never_goes_back
                wall_is_after_the_year_2000
                sleep_until_the_past_is_ready
                sleep_lasts_at_least_as_long_as_asked
                sleeps_end_in_order_of_their_deadlines
                timeout_prefers_the_ready_future
                timeout_ends_what_never_does
                timeout_gives_what_is_ready_in_time
            }
            task {
                spawned_output_is_joined
                a_spawned_task_runs_without_being_awaited
                a_dropped_handle_leaves_the_task_running
                an_aborted_task_gives_task_lost
                an_aborted_task_drops_what_it_holds
                tasks_run_beside_each_other
                random_differs_each_time
                random_fills_odd_lengths
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ([$ground:ident] $($module:ident { $($name:ident)* })*) => {
        vec![$($((
            concat!(stringify!($module), "::", stringify!($name)),
            (|ground| Box::pin($module::$name(ground))) as Case<$ground>,
        ),)*)*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$run:ident] $($module:ident { $($name:ident)* })*) => {
        $(mod $module {
            $(#[test]
            fn $name() {
                super::$run($crate::conformance::$module::$name);
            })*
        })*
    };
}

/// Makes a `#[test]` of every case: `run` takes one, gives it a [`Ground`], and drives it to its
/// end.
#[macro_export]
macro_rules! conformance_suite {
    ($run:ident) => {
        $crate::__conformance_cases!(__conformance_tests, $run);
    };
}

/// Every case with its name (`disk::rename_replaces`), for a backend that runs them in one go.
#[must_use]
pub fn cases<I: Io>() -> Vec<(&'static str, Case<I>)> {
    crate::__conformance_cases!(__conformance_list, I)
}
