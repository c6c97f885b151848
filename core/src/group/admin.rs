//! What operators ask of groups: DescribeGroups, ListGroups and DeleteGroups.

use alloc::{collections::BTreeSet, vec::Vec};

use bytes::Bytes;
use ottla_wire::Str;

use super::{
    Output, Ticket,
    classic::GroupState,
    request::{
        GroupDescription, GroupError, GroupListing, ListGroups, MemberDescription, Response,
    },
    shard::GroupShard,
    writes::{Change, Then},
};
use crate::time::Now;

/// Kafka's name for the groups here, as opposed to those of KIP-848 and KIP-932.
const CLASSIC_TYPE: &str = "classic";

impl GroupShard {
    pub(super) fn describe(&self, id: &Str) -> Result<GroupDescription, GroupError> {
        let group = self
            .groups
            .get(id)
            .map(|g| &g.classic)
            .ok_or(GroupError::GroupIdNotFound)?;
        let stable = group.is(GroupState::Stable);
        let protocol = if stable {
            group.protocol_name.clone().unwrap_or_default()
        } else {
            Str::new()
        };
        let members = group
            .members()
            .map(|m| MemberDescription {
                member_id: m.id.clone(),
                group_instance_id: m.group_instance_id.clone(),
                client_id: m.client_id.clone(),
                client_host: m.client_host.clone(),
                metadata: if stable {
                    m.metadata(&protocol)
                } else {
                    Bytes::new()
                },
                assignment: m.assignment.clone(),
            })
            .collect();
        Ok(GroupDescription {
            state: group.state().name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol,
            members,
        })
    }

    pub(super) fn list(&self, filter: &ListGroups) -> Vec<GroupListing> {
        let lets = |names: &[Str], name: &str| {
            names.is_empty() || names.iter().any(|n| n.eq_ignore_ascii_case(name))
        };
        if !lets(&filter.types, CLASSIC_TYPE) {
            return Vec::new();
        }
        self.groups
            .iter()
            .filter(|(_, group)| lets(&filter.states, group.classic.state().name()))
            .map(|(id, group)| GroupListing {
                group_id: id.clone(),
                protocol_type: group.classic.protocol_type.clone().unwrap_or_default(),
                state: group.classic.state().name(),
                group_type: CLASSIC_TYPE,
            })
            .collect()
    }

    pub(super) fn delete(&mut self, now: Now, ticket: Ticket, id: &Str, out: &mut Vec<Output>) {
        let (id, since) = match self.groups.get_key_value(id) {
            Some((id, group)) => match group.classic.state() {
                GroupState::Empty => (id.clone(), group.classic.state_since),
                GroupState::Dead => {
                    return refuse(ticket, GroupError::GroupIdNotFound, out);
                }
                _ => return refuse(ticket, GroupError::NonEmptyGroup, out),
            },
            None => return refuse(ticket, GroupError::GroupIdNotFound, out),
        };
        let mut changes: Vec<Change> = self
            .offsets_to_forget(&id)
            .into_iter()
            .map(|(topic, partition)| Change::Offset {
                group: id.clone(),
                topic,
                partition,
                stored: None,
            })
            .collect();
        changes.push(Change::Group {
            group: id.clone(),
            value: None,
        });
        if let Some(group) = self.groups.get_mut(&id) {
            group.classic.pending_join.clear();
            group.classic.transition(GroupState::Dead, now.wall);
        }
        self.append_in_parts(
            now,
            changes,
            Then::Deleted {
                ticket: Some(ticket),
                group: id,
                since,
            },
            out,
        );
    }

    /// The offsets of a group, those on their way to the log and those of open transactions
    /// included.
    fn offsets_to_forget(&self, id: &Str) -> BTreeSet<(Str, i32)> {
        let durable = self.groups.get(id).into_iter().flat_map(|group| {
            group.offsets.iter().flat_map(|(topic, partitions)| {
                partitions
                    .keys()
                    .map(move |partition| (topic.clone(), *partition))
            })
        });
        let under_way = self.changes_under_way().filter_map(|change| match change {
            Change::Offset {
                group,
                topic,
                partition,
                stored: Some(_),
            } if group == id => Some((topic.clone(), *partition)),
            _ => None,
        });
        let open = self
            .open_transactions
            .values()
            .flatten()
            .filter(|pending| pending.group == *id)
            .map(|pending| (pending.topic.clone(), pending.partition));
        durable.chain(under_way).chain(open).collect()
    }
}

fn refuse(ticket: Ticket, error: GroupError, out: &mut Vec<Output>) {
    out.push(Output::Reply {
        ticket,
        response: Response::Delete(Err(error)),
    });
}
