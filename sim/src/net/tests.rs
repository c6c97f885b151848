//! What a broker can tell of a network.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use madsim::runtime::Runtime;
use ottla_io::{Listener, Net, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connects, Delay, Link, LinkState, Network, SimListener, SimNet, SimStream, Spread};
use crate::{
    clock::SimClock,
    event::{NodeId, Recorder},
    process::Process,
    random::SimRandom,
};

const SERVER: NodeId = NodeId(1);
const CLIENT: NodeId = NodeId(2);

struct Pair {
    network: Network,
    clock: SimClock,
    server: SimNet,
    server_process: Process,
    client: SimNet,
    listener: SimListener,
    address: SocketAddr,
}

fn run<F: Future>(test: impl FnOnce(Pair) -> F) -> F::Output {
    Runtime::new().block_on(async {
        let clock = SimClock::current();
        let recorder = Recorder::new(clock.clone(), false);
        let network = Network::new(SimRandom::new(1, "net"), recorder);
        let ip = network.add_host(SERVER, "server");
        let _ = network.add_host(CLIENT, "client");
        let server_process = Process::new(SERVER, 0);
        let server = network.attach(server_process.clone());
        let client = network.attach(Process::new(CLIENT, 0));
        let address = SocketAddr::new(ip, 9092);
        let listener = server.listen(address).await.unwrap();
        let pair = Pair {
            network,
            clock,
            server,
            server_process,
            client,
            listener,
            address,
        };
        test(pair).await
    })
}

impl Pair {
    async fn connect(&self) -> (SimStream, SimStream) {
        let client = self.client.connect(self.address).await.unwrap();
        let (server, peer) = self.listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        (client, server)
    }

    fn set(&self, from: NodeId, to: NodeId, cut: bool) {
        let state = LinkState {
            cut,
            ..LinkState::default()
        };
        self.network.set_link(Link { from, to }, state);
    }

    /// `None` where it takes longer than a virtual minute.
    async fn in_time<F: Future>(&self, future: F) -> Option<F::Output> {
        let limit = self.clock.sleep(Duration::from_secs(60));
        match futures_util::future::select(std::pin::pin!(future), limit).await {
            futures_util::future::Either::Left((output, _)) => Some(output),
            futures_util::future::Either::Right(_) => None,
        }
    }
}

#[test]
fn bytes_arrive_whole_and_in_order_whatever_the_split() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        let sent: Vec<u8> = (0..500_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let expected = sent.clone();
        let write = async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        };
        let mut received = Vec::new();
        let (_client, _) =
            futures_util::future::join(write, server.read_to_end(&mut received)).await;
        assert!(received == expected);
    });
}

#[test]
fn a_reader_that_stops_reading_stops_its_writer() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        let all = vec![7; 1024 * 1024];
        assert!(pair.in_time(client.write_all(&all)).await.is_none());
        let mut buffer = vec![0; super::pipe::WINDOW_BYTES];
        server.read_exact(&mut buffer).await.unwrap();
        assert!(pair.in_time(client.write_all(&[7])).await.is_some());
    });
}

#[test]
fn a_half_closed_connection_still_carries_the_other_half() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        server.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    });
}

#[test]
fn connecting_without_a_listener_is_refused_and_through_a_cut_times_out() {
    run(|pair| async move {
        let nobody = SocketAddr::new(pair.address.ip(), 1);
        let refused = pair.client.connect(nobody).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        pair.set(SERVER, CLIENT, true);
        let before = pair.clock.now();
        let silent = pair.client.connect(pair.address).await.unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::TimedOut);
        assert!(pair.clock.now() - before > 120_000_000_000);
    });
}

#[test]
fn a_connect_that_began_in_a_cut_succeeds_once_it_is_healed() {
    run(|pair| async move {
        pair.set(CLIENT, SERVER, true);
        let heal = async {
            pair.clock.sleep(Duration::from_secs(5)).await;
            pair.set(CLIENT, SERVER, false);
        };
        let (connected, ()) =
            futures_util::future::join(pair.client.connect(pair.address), heal).await;
        connected.unwrap();
    });
}

#[test]
fn a_one_way_cut_holds_bytes_and_the_end_of_file_back_until_it_is_healed() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        pair.set(CLIENT, SERVER, true);
        client.write_all(b"late").await.unwrap();
        drop(client);
        let mut received = Vec::new();
        assert!(
            pair.in_time(server.read_to_end(&mut received))
                .await
                .is_none()
        );
        assert!(received.is_empty());
        pair.set(CLIENT, SERVER, false);
        server.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"late");
    });
}

#[test]
fn the_way_back_of_a_one_way_cut_is_open() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        pair.set(CLIENT, SERVER, true);
        server.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
    });
}

#[test]
fn writing_to_a_dropped_peer_is_answered_by_a_reset() {
    run(|pair| async move {
        let (mut client, server) = pair.connect().await;
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        client.write_all(b"into the void").await.unwrap();
        pair.clock.sleep(Duration::from_secs(1)).await;
        assert!(client.write_all(b"more").await.is_err());
    });
}

#[test]
fn a_reset_is_seen_in_the_middle_of_a_frame() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        client.write_all(b"half a fra").await.unwrap();
        let mut half = [0; 4];
        server.read_exact(&mut half).await.unwrap();
        assert_eq!(pair.network.reset_between(SERVER, CLIENT), 1);
        let error = server.read_exact(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(client.write_all(b"me").await.is_err());
    });
}

#[test]
fn what_a_cut_holds_up_is_delivered_after_a_close_and_dropped_by_a_reset() {
    for resets in [false, true] {
        run(|pair| async move {
            let (mut client, mut server) = pair.connect().await;
            pair.set(CLIENT, SERVER, true);
            client.write_all(b"late").await.unwrap();
            if resets {
                client.reset();
            } else {
                drop(client);
            }
            pair.set(CLIENT, SERVER, false);
            let mut received = Vec::new();
            let end = server.read_to_end(&mut received).await;
            assert_eq!(end.is_err(), resets);
            assert_eq!(received.is_empty(), resets);
        });
    }
}

#[test]
fn a_killed_process_resets_connections_with_unread_bytes_and_frees_its_port() {
    run(|pair| async move {
        let (mut client, server) = pair.connect().await;
        client.write_all(b"unread").await.unwrap();
        pair.clock.sleep(Duration::from_secs(1)).await;
        pair.server_process.end();
        pair.network.process_ended(&pair.server_process);
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        drop(server);
        let next = pair.network.attach(Process::new(SERVER, 1));
        next.listen(pair.address).await.unwrap();
    });
}

#[test]
fn a_node_without_power_is_silent_and_resets_what_is_old_once_it_is_back() {
    run(|pair| async move {
        let (mut client, _server) = pair.connect().await;
        pair.server_process.end();
        pair.network.power_lost(SERVER);
        client.write_all(b"anybody there?").await.unwrap();
        assert!(pair.in_time(client.read(&mut [0; 8])).await.is_none());
        pair.network.power_restored(SERVER);
        let error = pair
            .in_time(client.read(&mut [0; 8]))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_bound_port_is_in_use_and_a_foreign_address_cannot_be_bound() {
    run(|pair| async move {
        // All of it is moved here, the listener included.
        let pair = &pair;
        let used = pair.server.listen(pair.address).await.unwrap_err();
        assert_eq!(used.kind(), ErrorKind::AddrInUse);
        let foreign = pair.client.listen(pair.address).await.unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
        let free = SocketAddr::new([0, 0, 0, 0].into(), 0);
        let listener = pair.client.listen(free).await.unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), 0);
        let looped = SocketAddr::new([127, 0, 0, 1].into(), listener.local_addr().unwrap().port());
        pair.client.connect(looped).await.unwrap();
    });
}

#[test]
fn a_half_open_peer_believes_in_its_connection_until_it_sends() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        server.write_all(b"on its way").await.unwrap();
        assert_eq!(pair.network.sever(SERVER), 1);
        // The node's own process is told, the peer hears nothing and may send.
        let own = server.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(own.kind(), ErrorKind::ConnectionReset);
        assert!(pair.in_time(client.read(&mut [0; 16])).await.is_none());
        client.write_all(b"anybody there?").await.unwrap();
        let told = pair.in_time(client.read(&mut [0; 8])).await.unwrap();
        assert_eq!(told.unwrap_err().kind(), ErrorKind::ConnectionReset);
        pair.connect().await;
    });
}

#[test]
fn a_severed_end_that_is_dropped_tells_its_peer_nothing() {
    run(|pair| async move {
        let (mut client, server) = pair.connect().await;
        pair.network.sever(SERVER);
        drop(server);
        assert!(pair.in_time(client.read(&mut [0; 8])).await.is_none());
    });
}

#[test]
fn a_firewall_refuses_or_drops_new_connections_and_leaves_old_ones_alone() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        let link = Link {
            from: CLIENT,
            to: SERVER,
        };
        for (connects, expected) in [
            (Connects::Refused, ErrorKind::ConnectionRefused),
            (Connects::Dropped, ErrorKind::TimedOut),
        ] {
            let state = LinkState {
                connects,
                ..LinkState::default()
            };
            pair.network.set_link(link, state);
            let error = pair.client.connect(pair.address).await.unwrap_err();
            assert_eq!(error.kind(), expected);
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'x');
        }
        pair.network.set_link(link, LinkState::default());
        pair.client.connect(pair.address).await.unwrap();
    });
}

#[test]
fn a_narrow_link_is_shared_by_its_connections_and_pushes_back() {
    run(|pair| async move {
        let narrow = LinkState {
            bytes_per_second: Some(10_000),
            ..LinkState::default()
        };
        let (mut one, mut one_there) = pair.connect().await;
        let (mut two, mut two_there) = pair.connect().await;
        let link = Link {
            from: CLIENT,
            to: SERVER,
        };
        pair.network.set_link(link, narrow);
        let begun = pair.clock.now();
        one.write_all(&[1; 20_000]).await.unwrap();
        two.write_all(&[2; 20_000]).await.unwrap();
        let mut first = [0; 1];
        one_there.read_exact(&mut first).await.unwrap();
        assert!(pair.clock.now() - begun < 1_000_000_000, "they trickle");
        one_there.read_exact(&mut [0; 19_999]).await.unwrap();
        two_there.read_exact(&mut [0; 20_000]).await.unwrap();
        let took = Duration::from_nanos(pair.clock.now() - begun);
        assert!((4..5).contains(&took.as_secs()), "{took:?}");
        // The window holds what the link does not carry yet, and no more.
        let more = vec![3; super::pipe::WINDOW_BYTES + 1];
        let limit = pair.clock.sleep(Duration::from_millis(100));
        let write = std::pin::pin!(one.write_all(&more));
        let first = futures_util::future::select(write, limit).await;
        assert!(matches!(first, futures_util::future::Either::Right(_)));
    });
}

#[test]
fn a_slow_link_delays_every_message_in_its_direction_only() {
    run(|pair| async move {
        let (mut client, mut server) = pair.connect().await;
        let delay = Delay {
            mean_micros: 2_000_000,
            spread: Spread::Constant,
        };
        let slow = LinkState {
            delay,
            ..LinkState::default()
        };
        let link = Link {
            from: SERVER,
            to: CLIENT,
        };
        pair.network.set_link(link, slow);
        let begun = pair.clock.now();
        client.write_all(b"q").await.unwrap();
        server.read_u8().await.unwrap();
        assert!(pair.clock.now() - begun < 1_000_000_000);
        server.write_all(b"a").await.unwrap();
        client.read_u8().await.unwrap();
        assert!(pair.clock.now() - begun >= 2_000_000_000);
    });
}
