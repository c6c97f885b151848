//! Tasks and randomness.

use std::{future::pending, time::Duration};

use tokio::sync::oneshot;

use super::{Ground, PATIENCE};
use crate::{Io, TaskLost};

pub async fn spawned_output_is_joined<I: Io>(ground: Ground<I>) {
    let task = ground.io.spawn("answer", async { 42 });
    assert_eq!(ground.io.timeout(PATIENCE, task).await, Some(Ok(42)));
}

pub async fn a_spawned_task_runs_without_being_awaited<I: Io>(ground: Ground<I>) {
    let (sender, done) = oneshot::channel();
    let _task = ground
        .io
        .spawn("sender", async move { sender.send(7).unwrap() });
    assert_eq!(ground.io.timeout(PATIENCE, done).await, Some(Ok(7)));
}

pub async fn a_dropped_handle_leaves_the_task_running<I: Io>(ground: Ground<I>) {
    let (sender, done) = oneshot::channel();
    let sleep = ground.io.sleep(Duration::from_millis(5));
    drop(ground.io.spawn("sender", async move {
        sleep.await;
        sender.send(7).unwrap();
    }));
    assert_eq!(ground.io.timeout(PATIENCE, done).await, Some(Ok(7)));
}

pub async fn an_aborted_task_gives_task_lost<I: Io>(ground: Ground<I>) {
    let task = ground.io.spawn("endless", pending::<()>());
    task.abort();
    assert_eq!(ground.io.timeout(PATIENCE, task).await, Some(Err(TaskLost)));
}

pub async fn an_aborted_task_drops_what_it_holds<I: Io>(ground: Ground<I>) {
    let (held, dropped) = oneshot::channel::<()>();
    let (sender, started) = oneshot::channel();
    let task = ground.io.spawn("holder", async move {
        let _held = held;
        sender.send(()).unwrap();
        pending::<()>().await;
    });
    assert_eq!(ground.io.timeout(PATIENCE, started).await, Some(Ok(())));
    task.abort();
    assert!(matches!(
        ground.io.timeout(PATIENCE, dropped).await,
        Some(Err(_))
    ));
}

pub async fn tasks_run_beside_each_other<I: Io>(ground: Ground<I>) {
    let (to_first, from_second) = oneshot::channel();
    let (to_second, from_first) = oneshot::channel();
    let first = ground.io.spawn("first", async move {
        to_second.send(1).unwrap();
        from_second.await.unwrap()
    });
    let second = ground.io.spawn("second", async move {
        let got = from_first.await.unwrap();
        to_first.send(got + 1).unwrap();
        got
    });
    assert_eq!(ground.io.timeout(PATIENCE, first).await, Some(Ok(2)));
    assert_eq!(ground.io.timeout(PATIENCE, second).await, Some(Ok(1)));
}

pub async fn random_differs_each_time<I: Io>(ground: Ground<I>) {
    let (one, other) = (ground.io.random_u64(), ground.io.random_u64());
    assert_ne!(one, other);
}

pub async fn random_fills_odd_lengths<I: Io>(ground: Ground<I>) {
    ground.io.fill_random(&mut []);
    let mut bytes = [0; 1001];
    ground.io.fill_random(&mut bytes);
    // Each of these bytes is zero once in 256 times: a run of 12 zeros is a part left out.
    assert!(
        bytes
            .windows(12)
            .all(|window| window.iter().any(|byte| *byte != 0))
    );
}
