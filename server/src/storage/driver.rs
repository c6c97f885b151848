//! The task of one partition: it performs what the machine asks for and reports what came of it.

use std::{io, pin::pin, sync::Arc};

use futures_util::future::{Either, select};
use ottla_core::{
    limits::{PARTITION_REOPEN_DELAY_MAX, PARTITION_REOPEN_DELAY_MIN},
    partition::{EffectId, FlushPolicy, Input},
    time::Instant,
};
use ottla_io::Io;

use super::{
    cell::{Cell, NOTHING_IS_CUT},
    lanes::{Done, Lanes},
    recovery,
};

/// What woke the task.
enum Event {
    Done(Done),
    Bell,
    Timer,
}

/// Runs until the partition is closed, deleted or dropped.
pub(super) async fn run<I: Io>(cell: Arc<Cell<I>>) {
    let mut lanes = Lanes::new();
    let mut timer: Option<(Instant, _)> = None;
    let mut pause = PARTITION_REOPEN_DELAY_MIN;
    loop {
        if cell.state().ended {
            lanes.settle().await;
            return;
        }
        let (closed, reopen): (bool, Option<i64>) = {
            let mut state = cell.state();
            lanes.fill(&cell.place, &mut state.effects);
            let closed = state
                .machine
                .as_ref()
                .is_some_and(|machine| machine.is_closed());
            (closed && state.effects.is_empty(), state.reopen)
        };
        if closed && lanes.is_idle() {
            return;
        }
        if let Some(cut_to) = reopen {
            lanes.settle().await;
            if reopen_cell(&cell, cut_to).await {
                pause = PARTITION_REOPEN_DELAY_MIN;
            } else {
                // Ended early when the partition is deleted.
                select(pin!(cell.place.io.sleep(pause)), pin!(cell.bell.notified())).await;
                pause = (pause * 2).min(PARTITION_REOPEN_DELAY_MAX);
            }
            continue;
        }
        let due = cell.next_timer();
        if timer.as_ref().map(|(at, _)| *at) != due {
            timer = due.map(|at| (at, Box::pin(cell.place.io.sleep_until(at))));
        }
        let event = {
            let work = async {
                let (done, bell) = (pin!(lanes.next()), pin!(cell.bell.notified()));
                match select(done, bell).await {
                    Either::Left((done, _)) => Event::Done(done),
                    Either::Right(((), _)) => Event::Bell,
                }
            };
            match &mut timer {
                None => work.await,
                Some((_, sleep)) => match select(pin!(work), sleep).await {
                    Either::Left((event, _)) => event,
                    Either::Right(((), _)) => Event::Timer,
                },
            }
        };
        match event {
            Event::Bell => {}
            Event::Timer => {
                timer = None;
                cell.tell(Input::Timer);
            }
            Event::Done(done) => report(&cell, &mut lanes, done).await,
        }
    }
}

async fn report<I: Io>(cell: &Arc<Cell<I>>, lanes: &mut Lanes, done: Done) {
    match done {
        Done::Changed(through, Ok(())) => {
            cell.state()
                .step(&cell.place.io, Input::Changed { through });
        }
        Done::Synced(through, Ok(())) => {
            cell.state().step(&cell.place.io, Input::Synced { through });
        }
        Done::Synced(through, Err(error)) => sync_failed(cell, through, &error),
        Done::Changed(through, Err(error)) => {
            tracing::error!(
                partition = %cell.name, folder = %cell.place.folder.display(), effect = through.0, %error,
                "a write failed"
            );
            // What was pushed behind the failed change is not performed, unless the machine asks again; a
            // running sync has its say first.
            if let Some(Done::Synced(through, result)) = lanes.settle_syncs().await {
                match result {
                    Ok(()) => {
                        cell.state().step(&cell.place.io, Input::Synced { through });
                    }
                    Err(error) => return sync_failed(cell, through, &error),
                }
            }
            let full = error.kind() == io::ErrorKind::StorageFull;
            let mut state = cell.state();
            state.effects.clear();
            state.step(&cell.place.io, Input::ChangeFailed { full });
        }
    }
}

fn sync_failed<I: Io>(cell: &Arc<Cell<I>>, through: EffectId, error: &io::Error) {
    tracing::error!(
        partition = %cell.name, folder = %cell.place.folder.display(), effect = through.0, %error,
        "a sync failed: the partition goes offline and is opened anew"
    );
    let mut state = cell.state();
    state.effects.clear();
    state.step(&cell.place.io, Input::SyncFailed);
}

/// Opens a partition anew after its files could not be trusted any more, its log cut to end at
/// `cut_to`. False if it failed.
async fn reopen_cell<I: Io>(cell: &Arc<Cell<I>>, cut_to: i64) -> bool {
    let (known, config, opened) = {
        let mut state = cell.state();
        let known = recovery::Known {
            cut_to: (cut_to < NOTHING_IS_CUT).then_some(cut_to),
            ..state.known()
        };
        (known, state.config.clone(), state.machine.is_some())
    };
    let flush = config.flush;
    let recovery_point = known.recovery_point;
    cell.place.files.forget_all(cell.place.number);
    match recovery::open(&cell.place, &cell.name, cell.node_id, config, known).await {
        Ok(machine) => {
            let mut state = cell.state();
            if state.ended {
                return true;
            }
            state.machine = Some(machine);
            state.reopen = None;
            if state.configured {
                let config = state.config.clone();
                state.configure(&cell.place.io, config);
            }
            if let Some(leadership) = state.leadership {
                state.step(&cell.place.io, leadership.input());
            }
            tracing::info!(partition = %cell.name, recovery_point, "the partition was opened anew");
            true
        }
        Err(error) => {
            tracing::error!(partition = %cell.name, %error, "the partition cannot be opened anew");
            let mut state = cell.state();
            if !opened {
                // What was durable before this process is not known. It writes anew what it finds, so that
                // the next attempt's sync does prove something; damage does not pass.
                state.reopen = state.reopen.filter(|_| error.may_pass());
            } else if matches!(error, recovery::RecoverError::Sync(_))
                && flush == FlushPolicy::Synced
            {
                // The next attempt's sync would prove nothing: what was not synced before is lost.
                state.reopen = state.reopen.map(|at| at.min(recovery_point));
            }
            false
        }
    }
}
