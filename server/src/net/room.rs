//! How many connections there may be: `max.connections` and those of one address, as they are
//! configured now.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ottla_core::{
    config::{Layers, Value},
    limits::CONNECTIONS_MAX,
    metadata::{ConfigResource, MetadataDelta, MetadataImage},
};
use ottla_io::{Io, Net};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::{broker::Broker, metadata::MetadataSettings};

/// The places for connections of all listeners. Their number may change while they are taken: what
/// is over a smaller one is not given out again.
pub(super) struct Room {
    free: Arc<Semaphore>,
    /// However many are wanted: connections must not take the descriptors that the logs need.
    most: usize,
    size: Mutex<Size>,
}

struct Size {
    /// Places that are free or taken.
    given: usize,
    wanted: usize,
}

/// A place that is taken.
pub(super) struct Entry {
    room: Arc<Room>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// As many places as `max.connections` says, now and whenever it is changed.
    pub(super) fn following<I: Io>(broker: &Arc<Broker<I>>) -> Arc<Self> {
        let room = Self::new(0, CONNECTIONS_MAX.min(broker.io.net().room()));
        let followed_by = Arc::clone(&room);
        let settings = Arc::new(broker.settings.metadata.clone());
        broker.metadata.follow(move |image, delta| {
            if is_concerned(&settings, delta) {
                followed_by.resize(max_connections(&settings, image));
            }
        });
        // Whatever there is to follow: an image without configurations marks none as changed.
        room.resize(max_connections(
            &broker.settings.metadata,
            &broker.metadata.image(),
        ));
        room
    }

    fn new(size: usize, most: usize) -> Arc<Self> {
        let size = size.min(most);
        Arc::new(Self {
            most,
            free: Arc::new(Semaphore::new(size)),
            size: Mutex::new(Size {
                given: size,
                wanted: size,
            }),
        })
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resize(&self, wanted: usize) {
        let mut size = self.size();
        size.wanted = wanted.min(self.most);
        if size.given < size.wanted {
            self.free.add_permits(size.wanted - size.given);
            size.given = size.wanted;
        } else {
            size.given -= self.free.forget_permits(size.given - size.wanted);
        }
    }

    /// Waits for a place.
    pub(super) async fn enter(self: Arc<Self>) -> Result<Entry, AcquireError> {
        let permit = Arc::clone(&self.free).acquire_owned().await?;
        Ok(Entry {
            room: self,
            permit: Some(permit),
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut size = self.room.size();
        if let Some(permit) = self.permit.take()
            && size.given > size.wanted
        {
            permit.forget();
            size.given -= 1;
        }
    }
}

fn is_concerned(settings: &MetadataSettings, delta: &MetadataDelta) -> bool {
    delta
        .configs
        .contains(&ConfigResource::broker(settings.node_id))
        || delta.configs.contains(&ConfigResource::broker_default())
}

fn max_connections(settings: &MetadataSettings, image: &MetadataImage) -> usize {
    let layers = Layers {
        broker: image.configs(&ConfigResource::broker(settings.node_id)),
        cluster: image.configs(&ConfigResource::broker_default()),
        file: &settings.file,
    };
    number(&layers, "max.connections")
}

/// How many connections the address `ip` may have: what `max.connections.per.ip.overrides` says
/// (`127.0.0.1:200,..`), or `max.connections.per.ip`. A host name among the overrides is left out,
/// as it would have to be resolved over and over.
pub(super) fn max_connections_per_ip(layers: &Layers<'_>, ip: IpAddr) -> usize {
    let of_ip = |text: &str| {
        let (address, max) = text.trim().rsplit_once(':')?;
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        max.parse().ok().filter(|_: &usize| address == ip)
    };
    let overridden = match layers.broker_value("max.connections.per.ip.overrides") {
        Some(Value::Text(overrides)) => overrides.split(',').rev().find_map(of_ip),
        _ => None,
    };
    overridden.unwrap_or_else(|| number(layers, "max.connections.per.ip"))
}

fn number(layers: &Layers<'_>, key: &'static str) -> usize {
    match layers.broker_value(key) {
        Some(Value::Integer(number)) => usize::try_from(number).unwrap_or(0),
        _ => i32::MAX as usize,
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use ottla_core::config::Entries;

    use super::*;

    fn enter(room: &Arc<Room>) -> Option<Entry> {
        let mut entering = pin!(Arc::clone(room).enter());
        match entering
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(entry) => entry.ok(),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_room_that_shrinks_under_its_guests_takes_new_ones_once_enough_have_left() {
        let room = Room::new(2, 100);
        let (one, two) = (enter(&room).unwrap(), enter(&room).unwrap());
        assert!(enter(&room).is_none());
        room.resize(3);
        let three = enter(&room).unwrap();
        room.resize(1);
        drop(one);
        assert!(enter(&room).is_none());
        drop(two);
        assert!(enter(&room).is_none());
        drop(three);
        let four = enter(&room).unwrap();
        assert!(enter(&room).is_none());
        room.resize(2);
        let _five = enter(&room).unwrap();
        drop(four);
    }

    #[test]
    fn an_address_has_its_own_bound_or_that_of_all() {
        let none = Entries::new();
        let file = Entries::from([
            ("max.connections.per.ip".into(), "5".into()),
            (
                "max.connections.per.ip.overrides".into(),
                "127.0.0.1:7,[::1]:8,example.org:9".into(),
            ),
        ]);
        let layers = Layers {
            broker: &none,
            cluster: &none,
            file: &file,
        };
        for (ip, max) in [("127.0.0.1", 7), ("::1", 8), ("127.0.0.2", 5)] {
            assert_eq!(max_connections_per_ip(&layers, ip.parse().unwrap()), max);
        }
    }
}
