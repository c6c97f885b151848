//! Finding the broker that coordinates a group.

use ottla_io::Io;
use ottla_wire::{
    Str,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse},
};

use crate::{
    client::{Client, Retry},
    error::{BrokerError, RequestError},
};

/// Why a group's coordinator gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// It says no.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// There was no response.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl GroupError {
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            Self::Broker(error) => error.code.is_retriable(),
            Self::Request(error) => error.is_retriable(),
        }
    }
}

impl<I: Io> Client<I> {
    /// The broker that coordinates `group`; one look-up.
    pub(crate) async fn find_coordinator(&self, group: &Str) -> Result<i32, GroupError> {
        let build = |version: i16| {
            if version >= 4 {
                let coordinator_keys = vec![group.clone()];
                FindCoordinatorRequest {
                    key_type: 0,
                    coordinator_keys,
                    ..Default::default()
                }
            } else {
                FindCoordinatorRequest {
                    key: group.clone(),
                    ..Default::default()
                }
            }
        };
        let (version, response) = self.call_any(i16::MAX, build).await?;
        let (node, host, port) = answer(&response, version)?;
        self.learn_broker(node, &host, port);
        Ok(node)
    }

    /// The broker that coordinates `group`, asking again while there is none yet.
    pub(crate) async fn wait_for_coordinator(&self, group: &Str) -> Result<i32, GroupError> {
        let mut retry = Retry::new(self);
        loop {
            match self.find_coordinator(group).await {
                Err(error) if error.is_retriable() && retry.pause().await => {}
                done => return done,
            }
        }
    }
}

fn answer(response: &FindCoordinatorResponse, version: i16) -> Result<(i32, Str, i32), GroupError> {
    if version < 4 {
        BrokerError::check(response.error_code, response.error_message.as_deref())?;
        return Ok((response.node_id, response.host.clone(), response.port));
    }
    let found = response.coordinators.first();
    let found = found.ok_or(BrokerError::new(
        ottla_wire::ErrorCode::CoordinatorNotAvailable,
    ))?;
    BrokerError::check(found.error_code, found.error_message.as_deref())?;
    Ok((found.node_id, found.host.clone(), found.port))
}
