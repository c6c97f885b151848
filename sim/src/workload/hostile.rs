//! A hostile client: garbage, half requests, frames of any length, connections that come and go.
//!
//! It promises and checks nothing; the others must not notice it.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use ottla_io::{Clock, Io, Net};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};

use crate::{io::SimIo, net::SimStream, random::SimRandom};

/// Connections that it holds without a word.
const HELD_MAX: usize = 20;
/// Bytes that it sends at once.
const BYTES_MAX: u64 = 4096;
/// The same of a frame that never ends: so many that the broker has to make room for it.
const HALF_FRAME_BYTES_MAX: u64 = 100_000;

/// What one attack is.
#[derive(Clone, Copy)]
enum Attack {
    /// Bytes that mean nothing.
    Garbage,
    /// The words of another protocol.
    Http,
    /// A length that no frame may have.
    WrongLength,
    /// A frame that never ends.
    HalfFrame,
    /// A request header of some API with a body that means nothing.
    WrongBody,
    /// Requests whose answers nobody reads.
    Unread,
    /// A connection that says nothing.
    Silence,
    /// Connections that end at once.
    Churn,
}

/// Attacks until told to stop.
pub async fn attack(
    io: SimIo,
    bootstrap: String,
    mut random: SimRandom,
    stop: watch::Receiver<bool>,
) {
    let Ok(address) = bootstrap.parse() else {
        return;
    };
    let mut held: Vec<SimStream> = Vec::new();
    while !*stop.borrow() {
        let attack = random.pick(&[
            Attack::Garbage,
            Attack::Http,
            Attack::WrongLength,
            Attack::HalfFrame,
            Attack::WrongBody,
            Attack::WrongBody,
            Attack::Unread,
            Attack::Silence,
            Attack::Churn,
        ]);
        let connections = if matches!(attack, Attack::Churn) {
            8
        } else {
            1
        };
        for _ in 0..connections {
            let Ok(mut stream) = io.net().connect(address).await else {
                continue;
            };
            let bytes = bytes_of(attack, &mut random);
            let writing = stream.write_all(&bytes);
            // A broker that does not read is one that defends itself.
            let _ = io.timeout(Duration::from_secs(2), writing).await;
            if random.chance(1, 3) && !matches!(attack, Attack::Unread) {
                let mut answer = [0; 512];
                let reading = stream.read(&mut answer);
                let _ = io.timeout(Duration::from_millis(200), reading).await;
            }
            if !matches!(attack, Attack::Churn) {
                held.push(stream);
            }
        }
        if held.len() > HELD_MAX || random.chance(1, 40) {
            held.clear();
        }
        io.sleep(random.micros(1_000..=400_000)).await;
    }
}

fn bytes_of(attack: Attack, random: &mut SimRandom) -> BytesMut {
    let mut bytes = BytesMut::new();
    match attack {
        Attack::Garbage => noise(&mut bytes, random, BYTES_MAX),
        Attack::Http => bytes.put_slice(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"),
        Attack::WrongLength => bytes.put_i32(random.pick(&[-1, i32::MIN, i32::MAX, 0, 3])),
        Attack::HalfFrame => {
            let len = random.within(20..=1 << 24);
            bytes.put_u32(len as u32);
            noise(&mut bytes, random, (len - 1).min(HALF_FRAME_BYTES_MAX));
        }
        Attack::WrongBody => request(&mut bytes, random),
        Attack::Unread => (0..200).for_each(|_| api_versions(&mut bytes)),
        Attack::Silence | Attack::Churn => {}
    }
    bytes
}

fn noise(bytes: &mut BytesMut, random: &mut SimRandom, most: u64) {
    let len = random.within(0..=most) as usize;
    let start = bytes.len();
    bytes.resize(start + len, 0);
    random.fill(&mut bytes[start..]);
}

/// A frame with the header of an API in some version and noise behind it.
fn request(bytes: &mut BytesMut, random: &mut SimRandom) {
    let mut body = BytesMut::new();
    noise(&mut body, random, 300);
    bytes.put_u32(10 + body.len() as u32);
    bytes.put_i16(random.within(0..=95) as i16);
    bytes.put_i16(random.within(0..=18) as i16);
    bytes.put_i32(7);
    bytes.put_i16(-1);
    bytes.put_slice(&body);
}

/// A whole ApiVersions request in its first version.
fn api_versions(bytes: &mut BytesMut) {
    bytes.put_u32(10);
    bytes.put_i16(18);
    bytes.put_i16(0);
    bytes.put_i32(7);
    bytes.put_i16(-1);
}
