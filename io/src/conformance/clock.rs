//! Clocks and time-outs.

use std::{
    future::{Future, pending, poll_fn, ready},
    pin::pin,
    task::Poll,
    time::Duration,
};

use ottla_core::time::Instant;

use super::{Ground, PATIENCE};
use crate::Io;

pub async fn monotonic_never_goes_back<I: Io>(ground: Ground<I>) {
    let mut last = ground.io.now().monotonic;
    for _ in 0..1000 {
        let now = ground.io.now().monotonic;
        assert!(now >= last);
        last = now;
    }
}

pub async fn wall_is_after_the_year_2000<I: Io>(ground: Ground<I>) {
    assert!(ground.io.now().wall.0 > 946_684_800_000);
}

pub async fn sleep_until_the_past_is_ready<I: Io>(ground: Ground<I>) {
    let now = ground.io.now().monotonic;
    for deadline in [Instant(0), now] {
        let mut sleep = pin!(ground.io.sleep_until(deadline));
        poll_fn(|cx| {
            assert!(sleep.as_mut().poll(cx).is_ready());
            Poll::Ready(())
        })
        .await;
    }
}

pub async fn sleep_lasts_at_least_as_long_as_asked<I: Io>(ground: Ground<I>) {
    for wanted in [Duration::from_micros(300), Duration::from_millis(15)] {
        let before = ground.io.now().monotonic;
        ground.io.sleep(wanted).await;
        assert!(ground.io.now().monotonic.since(before) >= wanted);
    }
}

pub async fn sleeps_end_in_order_of_their_deadlines<I: Io>(ground: Ground<I>) {
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let start = ground.io.now().monotonic;
    for place in [3_u64, 1, 2] {
        let sleep = ground
            .io
            .sleep_until(start.after(Duration::from_millis(place * 40)));
        let sender = sender.clone();
        ground.io.spawn_detached(
            "sleeper",
            Box::pin(async move {
                sleep.await;
                sender.send(place).unwrap();
            }),
        );
    }
    for place in 1..=3 {
        assert_eq!(
            ground.io.timeout(PATIENCE, ended.recv()).await,
            Some(Some(place))
        );
    }
}

pub async fn timeout_prefers_the_ready_future<I: Io>(ground: Ground<I>) {
    assert_eq!(ground.io.timeout(Duration::ZERO, ready(7)).await, Some(7));
}

pub async fn timeout_ends_what_never_does<I: Io>(ground: Ground<I>) {
    let before = ground.io.now().monotonic;
    let wanted = Duration::from_millis(20);
    assert_eq!(ground.io.timeout(wanted, pending::<()>()).await, None);
    assert!(ground.io.now().monotonic.since(before) >= wanted);
}

pub async fn timeout_gives_what_is_ready_in_time<I: Io>(ground: Ground<I>) {
    let slow = ground.io.sleep(Duration::from_millis(5));
    assert_eq!(ground.io.timeout(PATIENCE, slow).await, Some(()));
}
