//! Listeners, connections and streams.

use std::{
    io::{ErrorKind, IoSlice, Result},
    net::SocketAddr,
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Ground, PATIENCE};
use crate::{Io, Listener, Net, Stream};

type StreamOf<I> = <<I as Io>::Net as Net>::Stream;
type ListenerOf<I> = <<I as Io>::Net as Net>::Listener;

/// A time after which a stream that has not moved is taken to be stuck.
const STUCK: Duration = Duration::from_millis(300);

async fn listen<I: Io>(ground: &Ground<I>) -> (ListenerOf<I>, SocketAddr) {
    let listener = ground.io.net().listen(ground.any_port()).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection: the accepted end, and the end that connected.
async fn pair<I: Io>(ground: &Ground<I>) -> (StreamOf<I>, StreamOf<I>) {
    let (listener, address) = listen(ground).await;
    connect_to(ground, &listener, address).await
}

async fn connect_to<I: Io>(
    ground: &Ground<I>,
    listener: &ListenerOf<I>,
    address: SocketAddr,
) -> (StreamOf<I>, StreamOf<I>) {
    let peer = ground.peer.clone();
    let connecting = ground.peer.spawn("connect", async move {
        peer.net().connect(address).await.unwrap()
    });
    let (accepted, _) = within(ground, listener.accept()).await.unwrap();
    (accepted, within(ground, connecting).await.unwrap())
}

async fn within<I: Io, F>(ground: &Ground<I>, future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    ground
        .io
        .timeout(PATIENCE, future)
        .await
        .expect("done in time")
}

async fn read_exactly<I: Io>(ground: &Ground<I>, stream: &mut StreamOf<I>, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    within(ground, stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Writes until the peer's and our own buffers are full; how many bytes that took.
async fn fill<I: Io>(ground: &Ground<I>, stream: &mut StreamOf<I>) -> u64 {
    let chunk = vec![7; 64 * 1024];
    let mut taken = 0;
    while let Some(written) = ground.io.timeout(STUCK, stream.write(&chunk)).await {
        taken += written.unwrap() as u64;
        assert!(
            taken < 1 << 30,
            "a gigabyte went to a peer that does not read"
        );
    }
    taken
}

pub async fn bytes_go_both_ways<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    client.write_all(b"ping").await.unwrap();
    assert_eq!(read_exactly(&ground, &mut server, 4).await, b"ping");
    server.write_all(b"pong!").await.unwrap();
    assert_eq!(read_exactly(&ground, &mut client, 5).await, b"pong!");
}

pub async fn port_zero_picks_a_free_one<I: Io>(ground: Ground<I>) {
    let (_one, first) = listen(&ground).await;
    let (_other, second) = listen(&ground).await;
    assert!(first.port() != 0 && second.port() != 0 && first != second);
}

pub async fn both_ends_know_both_addresses<I: Io>(ground: Ground<I>) {
    let (server, client) = pair(&ground).await;
    assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
    assert_ne!(server.local_addr().unwrap(), server.peer_addr().unwrap());
}

pub async fn connect_to_nobody_is_refused<I: Io>(ground: Ground<I>) {
    let (listener, address) = listen(&ground).await;
    drop(listener);
    let refused = within(&ground, ground.peer.net().connect(address)).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::ConnectionRefused);
}

pub async fn a_taken_port_is_refused<I: Io>(ground: Ground<I>) {
    let (_listener, address) = listen(&ground).await;
    let refused = ground.io.net().listen(address).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::AddrInUse);
}

pub async fn a_dropped_listener_refuses<I: Io>(ground: Ground<I>) {
    let (listener, address) = listen(&ground).await;
    let (mut server, mut client) = connect_to(&ground, &listener, address).await;
    drop(listener);
    let refused = within(&ground, ground.peer.net().connect(address)).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::ConnectionRefused);
    // What was accepted before goes on.
    client.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&ground, &mut server, 1).await, b"x");
}

pub async fn a_closed_port_may_be_bound_again<I: Io>(ground: Ground<I>) {
    let (listener, address) = listen(&ground).await;
    let (server, client) = connect_to(&ground, &listener, address).await;
    drop((server, client, listener));
    let listener = ground.io.net().listen(address).await.unwrap();
    let (mut server, mut client) = connect_to(&ground, &listener, address).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&ground, &mut server, 1).await, b"x");
}

pub async fn connections_wait_to_be_accepted<I: Io>(ground: Ground<I>) {
    let (listener, address) = listen(&ground).await;
    let mut client = within(&ground, ground.peer.net().connect(address))
        .await
        .unwrap();
    client.write_all(b"early").await.unwrap();
    let (mut server, peer) = within(&ground, listener.accept()).await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(read_exactly(&ground, &mut server, 5).await, b"early");
}

pub async fn many_connections_stay_apart<I: Io>(ground: Ground<I>) {
    let (listener, address) = listen(&ground).await;
    let mut pairs = Vec::new();
    for number in 0..20_u8 {
        let (server, mut client) = connect_to(&ground, &listener, address).await;
        client.write_all(&[number]).await.unwrap();
        pairs.push((number, server, client));
    }
    for (number, server, _client) in pairs.iter_mut().rev() {
        assert_eq!(read_exactly(&ground, server, 1).await, [*number]);
    }
}

pub async fn a_dropped_stream_reads_as_the_end<I: Io>(ground: Ground<I>) {
    let (mut server, client) = pair(&ground).await;
    drop(client);
    assert_eq!(within(&ground, server.read(&mut [0; 8])).await.unwrap(), 0);
    assert_eq!(within(&ground, server.read(&mut [0; 8])).await.unwrap(), 0);
}

pub async fn half_close_lets_the_other_way_go_on<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within(&ground, server.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"last words");
    server.write_all(b"answer").await.unwrap();
    assert_eq!(read_exactly(&ground, &mut client, 6).await, b"answer");
    assert!(client.write_all(b"more").await.is_err());
}

pub async fn what_was_sent_before_the_close_arrives<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    client.write_all(&[9; 30_000]).await.unwrap();
    drop(client);
    let mut heard = Vec::new();
    within(&ground, server.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard.len(), 30_000);
}

pub async fn reset_is_seen_by_the_peer<I: Io>(ground: Ground<I>) {
    let (mut server, client) = pair(&ground).await;
    client.reset();
    let seen = within(&ground, server.read(&mut [0; 8])).await;
    assert_eq!(seen.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

pub async fn reset_in_the_middle_of_a_transfer_is_no_clean_end<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    // More than the peer has room for: some of it was not sent yet.
    let waiting = fill(&ground, &mut client).await;
    client.reset();
    let mut heard = Vec::new();
    let end = within(&ground, server.read_to_end(&mut heard)).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(heard.len() as u64 <= waiting);
}

pub async fn write_after_the_peers_reset_fails<I: Io>(ground: Ground<I>) {
    let (mut server, client) = pair(&ground).await;
    client.reset();
    let seen = within(&ground, server.read(&mut [0; 8])).await;
    assert!(seen.is_err());
    assert!(within(&ground, server.write_all(&[1; 8])).await.is_err());
}

pub async fn write_to_a_peer_that_is_gone_fails<I: Io>(ground: Ground<I>) {
    let (mut server, client) = pair(&ground).await;
    drop(client);
    let writing = async {
        loop {
            // The first writes may go into buffers, until the peer's reset comes back.
            let written: Result<()> = server.write_all(&[1; 1000]).await;
            match written {
                Ok(()) => ground.io.sleep(Duration::from_millis(1)).await,
                Err(error) => return error.kind(),
            }
        }
    };
    let kind = within(&ground, writing).await;
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{kind:?}"
    );
}

pub async fn large_transfer_arrives_whole_and_in_order<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    let len = 3_000_000_u32;
    let sending = ground.peer.spawn("send", async move {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 % 253) as u8).collect();
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let mut heard = Vec::new();
    within(&ground, server.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard.len(), len as usize);
    assert!(
        (0..len)
            .zip(&heard)
            .all(|(at, byte)| (at * 7 % 253) as u8 == *byte)
    );
    within(&ground, sending).await.unwrap();
}

pub async fn vectored_write_arrives_in_order<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    let mut slices = [
        IoSlice::new(b"one "),
        IoSlice::new(b""),
        IoSlice::new(b"two"),
    ];
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = within(&ground, client.write_vectored(left)).await.unwrap();
        assert!(written > 0);
        IoSlice::advance_slices(&mut left, written);
    }
    assert_eq!(read_exactly(&ground, &mut server, 7).await, b"one two");
}

pub async fn writes_push_back_when_nobody_reads<I: Io>(ground: Ground<I>) {
    let (_server, mut client) = pair(&ground).await;
    assert!(fill(&ground, &mut client).await > 0);
}

pub async fn a_reader_lets_a_pushed_back_writer_go_on<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    let waiting = fill(&ground, &mut client).await;
    let reading = ground.io.spawn("read", async move {
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        heard.len() as u64
    });
    within(&ground, client.write_all(&[8; 100_000]))
        .await
        .unwrap();
    drop(client);
    assert_eq!(within(&ground, reading).await, Ok(waiting + 100_000));
}

pub async fn a_dropped_read_loses_nothing<I: Io>(ground: Ground<I>) {
    let (mut server, mut client) = pair(&ground).await;
    let nothing = ground
        .io
        .timeout(Duration::from_millis(5), server.read_u8())
        .await;
    assert!(nothing.is_none());
    client.write_all(b"abc").await.unwrap();
    assert_eq!(read_exactly(&ground, &mut server, 3).await, b"abc");
}

pub async fn an_address_as_text_resolves_to_itself<I: Io>(ground: Ground<I>) {
    let text = ground.address.to_string();
    let found = ground.io.net().resolve(&text, 4242).await.unwrap();
    assert_eq!(found, [SocketAddr::new(ground.address, 4242)]);
}
