//! A broker on loopback and what strange, slow and pipelining clients get from it.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails with the place of what went wrong"
)]

use std::{future::Future, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use ottla::{Broker, BrokerSettings, RunningBroker, StartError, config::BrokerConfig};
use ottla_io::{
    Clock, Io, Net,
    real::{self, RealIo, RealStream},
};
use ottla_wire::{
    Encoder, ErrorCode, Message,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse,
        RequestHeader, ResponseHeader,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    io: RealIo,
    running: RunningBroker<RealIo>,
    address: SocketAddr,
}

fn settings(folder: &Path, overrides: &[&str]) -> BrokerSettings {
    let mut all = vec![
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("log.dirs={}", folder.display()),
    ];
    all.extend(overrides.iter().map(|&text| text.to_owned()));
    BrokerSettings::new(&BrokerConfig::single_node(&all).unwrap())
}

/// Runs `test` against a broker of its own, and shuts the broker down.
fn with_broker<F>(overrides: &[&str], test: impl FnOnce(World) -> F)
where
    F: Future<Output = World>,
{
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), overrides);
    real::run(|io| async move {
        let running = Broker::start(io.clone(), settings).await.unwrap();
        let address = running.addresses()[0];
        let world = test(World {
            io,
            running,
            address,
        })
        .await;
        world.running.shutdown().await;
    })
    .unwrap();
}

impl World {
    async fn connect(&self) -> RealStream {
        self.io.net().connect(self.address).await.unwrap()
    }

    async fn within<F>(&self, future: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        self.io
            .timeout(PATIENCE, future)
            .await
            .expect("done in time")
    }

    /// The connection is closed, and nothing more came over it.
    async fn closes(&self, stream: &mut RealStream) {
        let mut rest = Vec::new();
        // A reset is a close as well: bytes that we did not read make the kernel send one.
        let _ = self.within(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{rest:?}");
    }

    async fn response(&self, stream: &mut RealStream) -> Bytes {
        let len = self.within(stream.read_u32()).await.unwrap();
        let mut frame = vec![0; len as usize];
        self.within(stream.read_exact(&mut frame)).await.unwrap();
        frame.into()
    }

    /// The broker still serves others.
    async fn serves(&self) {
        let mut stream = self.connect().await;
        let request = frame(ApiKey::ApiVersions, 4, 1, &api_versions());
        stream.write_all(&request).await.unwrap();
        let (correlation_id, response): (i32, ApiVersionsResponse) =
            decode(ApiKey::ApiVersions, 4, self.response(&mut stream).await);
        assert_eq!((correlation_id, response.error_code), (1, 0));
    }
}

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}

fn frame<M: Message>(api: ApiKey, version: i16, correlation_id: i32, body: &M) -> Vec<u8> {
    let header = RequestHeader {
        request_api_key: api.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some("test".into()),
        ..Default::default()
    };
    let mut encoder = Encoder::new();
    header
        .encode(&mut encoder, api.request_header_version(version))
        .unwrap();
    body.encode(&mut encoder, version).unwrap();
    let body = encoder.finish().into_bytes();
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

fn decode<M: Message>(api: ApiKey, version: i16, frame: Bytes) -> (i32, M) {
    let mut decoder = ottla_wire::Decoder::new(frame);
    let header =
        ResponseHeader::decode(&mut decoder, api.response_header_version(version)).unwrap();
    let body = M::decode(&mut decoder, version).unwrap();
    decoder.finish().unwrap();
    (header.correlation_id, body)
}

#[test]
fn bytes_that_are_no_frame_close_that_connection_only() {
    with_broker(&[], |world| async move {
        let strange: [&[u8]; 7] = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00],
            &[0xff, 0xff, 0xff, 0xff],
            &[0x7f, 0xff, 0xff, 0xff, 1, 2, 3],
            &[0, 0, 0, 0],
            &[0, 0, 0, 3, 1, 2, 3],
            &[0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef],
        ];
        for bytes in strange {
            let mut stream = world.connect().await;
            stream.write_all(bytes).await.unwrap();
            world.closes(&mut stream).await;
        }
        world.serves().await;
        world
    });
}

#[test]
fn half_a_frame_and_then_the_end_closes_without_an_answer() {
    with_broker(&[], |world| async move {
        let whole = frame(ApiKey::ApiVersions, 4, 1, &api_versions());
        for cut in [1, 4, 9, whole.len() - 1] {
            let mut stream = world.connect().await;
            stream.write_all(&whole[..cut]).await.unwrap();
            stream.shutdown().await.unwrap();
            world.closes(&mut stream).await;
        }
        world.serves().await;
        world
    });
}

#[test]
fn frame_that_arrives_byte_by_byte_is_answered() {
    with_broker(&[], |world| async move {
        let mut stream = world.connect().await;
        for byte in frame(ApiKey::ApiVersions, 3, 77, &api_versions()) {
            stream.write_all(&[byte]).await.unwrap();
        }
        let (correlation_id, _): (i32, ApiVersionsResponse) =
            decode(ApiKey::ApiVersions, 3, world.response(&mut stream).await);
        assert_eq!(correlation_id, 77);
        world
    });
}

#[test]
fn unknown_version_of_api_versions_gets_a_v0_answer_and_others_a_close() {
    with_broker(&[], |world| async move {
        let mut request = frame(ApiKey::ApiVersions, 4, 5, &api_versions());
        request[6..8].copy_from_slice(&99_i16.to_be_bytes());
        let mut stream = world.connect().await;
        stream.write_all(&request).await.unwrap();
        let (correlation_id, response): (i32, ApiVersionsResponse) =
            decode(ApiKey::ApiVersions, 0, world.response(&mut stream).await);
        assert_eq!(correlation_id, 5);
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion as i16);
        assert_eq!(response.api_keys.len(), 1);
        // The connection goes on, as the client tries again on it.
        stream
            .write_all(&frame(ApiKey::ApiVersions, 0, 6, &api_versions()))
            .await
            .unwrap();
        let (correlation_id, _): (i32, ApiVersionsResponse) =
            decode(ApiKey::ApiVersions, 0, world.response(&mut stream).await);
        assert_eq!(correlation_id, 6);

        for (key, version) in [(3_i16, 99_i16), (-1, 0), (9999, 0), (4, 0)] {
            let mut request = frame(ApiKey::Metadata, 12, 7, &MetadataRequest::default());
            request[4..6].copy_from_slice(&key.to_be_bytes());
            request[6..8].copy_from_slice(&version.to_be_bytes());
            let mut stream = world.connect().await;
            stream.write_all(&request).await.unwrap();
            world.closes(&mut stream).await;
        }
        world.serves().await;
        world
    });
}

#[test]
fn body_that_lies_about_its_lengths_closes_that_connection_only() {
    with_broker(&[], |world| async move {
        // Metadata v1 with two thousand million topics.
        let request = [
            &[0, 0, 0, 14][..],
            &[0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff],
            &[0x7f, 0xff, 0xff, 0xff],
        ]
        .concat();
        let mut stream = world.connect().await;
        stream.write_all(&request).await.unwrap();
        world.closes(&mut stream).await;
        world.serves().await;
        world
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    with_broker(&[], |world| async move {
        let mut stream = world.connect().await;
        let mut all = Vec::new();
        for id in 0..500 {
            match id % 2 {
                0 => all.extend(frame(ApiKey::ApiVersions, 4, id, &api_versions())),
                _ => all.extend(frame(ApiKey::Metadata, 12, id, &MetadataRequest::default())),
            }
        }
        stream.write_all(&all).await.unwrap();
        stream.shutdown().await.unwrap();
        for id in 0..500 {
            let response = world.response(&mut stream).await;
            let got = match id % 2 {
                0 => decode::<ApiVersionsResponse>(ApiKey::ApiVersions, 4, response).0,
                _ => decode::<MetadataResponse>(ApiKey::Metadata, 12, response).0,
            };
            assert_eq!(got, id);
        }
        world.closes(&mut stream).await;
        world
    });
}

#[test]
fn client_that_does_not_read_is_not_read_and_others_are_served() {
    with_broker(&[], |world| async move {
        let mut stream = world.connect().await;
        let many: Vec<u8> = (0..200)
            .flat_map(|id| frame(ApiKey::ApiVersions, 4, id, &api_versions()))
            .collect();
        let mut sent = 0_u64;
        // Until neither its requests nor their answers find room any more.
        while world
            .io
            .timeout(Duration::from_millis(500), stream.write_all(&many))
            .await
            .is_some()
        {
            sent += many.len() as u64;
            assert!(sent < 1 << 30, "the broker takes requests without end");
        }
        let taken = world.running.broker().metrics.connections.bytes_in.get();
        assert!(
            taken < 256 << 20,
            "{taken} bytes were read of a client that does not read"
        );
        world.serves().await;
        world
    });
}

#[test]
fn connections_over_the_bound_of_an_address_are_closed() {
    with_broker(&["max.connections.per.ip=2"], |world| async move {
        let one = world.connect().await;
        let _other = world.connect().await;
        let mut third = world.connect().await;
        world.closes(&mut third).await;
        drop(one);
        // Its place is free again once the broker has seen the end.
        let again = async {
            loop {
                let mut stream = world.connect().await;
                let request = frame(ApiKey::ApiVersions, 0, 1, &api_versions());
                if stream.write_all(&request).await.is_ok() && stream.read_u32().await.is_ok() {
                    break;
                }
            }
        };
        world.within(again).await;
        world
    });
}

#[test]
fn connection_over_max_connections_waits_for_a_place() {
    with_broker(&["max.connections=1"], |world| async move {
        let first = world.connect().await;
        let mut second = world.connect().await;
        second
            .write_all(&frame(ApiKey::ApiVersions, 4, 1, &api_versions()))
            .await
            .unwrap();
        let waiting = world
            .io
            .timeout(Duration::from_millis(200), second.read_u32())
            .await;
        assert!(waiting.is_none());
        drop(first);
        world.response(&mut second).await;
        world
    });
}

#[test]
fn idle_connection_is_closed() {
    with_broker(&["connections.max.idle.ms=200"], |world| async move {
        let mut stream = world.connect().await;
        world.closes(&mut stream).await;
        world
    });
}

#[test]
fn shutdown_closes_connections_and_lets_the_directory_go() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), &[]);
    real::run(|io| async move {
        for _ in 0..2 {
            let running = Broker::start(io.clone(), settings.clone()).await.unwrap();
            let mut stream = io.net().connect(running.addresses()[0]).await.unwrap();
            stream
                .write_all(&frame(ApiKey::ApiVersions, 4, 1, &api_versions()))
                .await
                .unwrap();
            stream.read_u32().await.unwrap();
            running.shutdown().await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
    .unwrap();
}

#[test]
fn port_that_is_taken_is_told() {
    with_broker(&[], |world| async move {
        let folder = tempfile::tempdir().unwrap();
        let listeners = format!("listeners=PLAINTEXT://{}", world.address);
        let settings = settings(folder.path(), &[&listeners]);
        let refused = Broker::start(world.io.clone(), settings.clone())
            .await
            .err()
            .unwrap();
        assert!(matches!(refused, StartError::Listen { .. }));
        let told = refused.to_string();
        let expected = format!(
            "listener PLAINTEXT: {} is taken by another process",
            world.address
        );
        assert_eq!(told, expected);
        // It let the directory go.
        let refused = Broker::start(world.io.clone(), settings)
            .await
            .err()
            .unwrap();
        assert!(matches!(refused, StartError::Listen { .. }));
        world
    });
}

#[test]
fn directory_in_use_or_of_another_cluster_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    real::run(|io| async move {
        let running = Broker::start(io.clone(), settings(&path, &[]))
            .await
            .unwrap();
        let refused = Broker::start(io.clone(), settings(&path, &[]))
            .await
            .err()
            .unwrap();
        let told = refused.to_string();
        assert!(
            told.contains("in use by another process") && !told.contains('\n'),
            "{told}"
        );
        running.shutdown().await;

        let other = settings(&path, &["ottla.cluster.id=AAAAAAAAAAAAAAAAAAAAAA"]);
        let told = Broker::start(io.clone(), other)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            told.contains("belongs to cluster") && !told.contains('\n'),
            "{told}"
        );
    })
    .unwrap();
}
