//! Records that this broker keeps without acting on them: SCRAM credentials, ACLs, client quotas
//! and delegation tokens. They are held as they came, keyed so that their removal finds them, and
//! go into the next snapshot.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ottla_wire::metadata::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, MetadataRecord,
    UserScramCredentialRecord,
};
use ottla_wire::{Str, Uuid};

/// What tells one kept record from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeptKey {
    /// A user's credential, by user and mechanism.
    Scram(Str, i8),
    /// An ACL, by id.
    Acl(Uuid),
    /// A quota, by the entity's sorted parts and the quota's key.
    Quota(Vec<(Str, Option<Str>)>, Str),
    /// A delegation token, by id.
    Token(Str),
}

/// The kept records by key.
pub(super) type KeptRecords = BTreeMap<KeptKey, MetadataRecord>;

/// What a record does to the kept ones; `None` if it is of another kind.
pub(super) fn change(record: &MetadataRecord) -> Option<(KeptKey, Option<MetadataRecord>)> {
    Some(match record {
        MetadataRecord::UserScramCredential(r) => (
            KeptKey::Scram(r.name.detach(), r.mechanism),
            Some(detach_scram(r).into()),
        ),
        MetadataRecord::RemoveUserScramCredential(r) => {
            (KeptKey::Scram(r.name.detach(), r.mechanism), None)
        }
        MetadataRecord::AccessControlEntry(r) => (KeptKey::Acl(r.id), Some(detach_acl(r).into())),
        MetadataRecord::RemoveAccessControlEntry(r) => (KeptKey::Acl(r.id), None),
        MetadataRecord::ClientQuota(r) => {
            let record = detach_quota(r);
            let mut entity: Vec<_> = record
                .entity
                .iter()
                .map(|e| (e.entity_type.clone(), e.entity_name.clone()))
                .collect();
            entity.sort_unstable();
            let key = KeptKey::Quota(entity, record.key.clone());
            (key, (!record.remove).then(|| record.into()))
        }
        MetadataRecord::DelegationToken(r) => (
            KeptKey::Token(r.token_id.detach()),
            Some(detach_token(r).into()),
        ),
        MetadataRecord::RemoveDelegationToken(r) => (KeptKey::Token(r.token_id.detach()), None),
        _ => return None,
    })
}

fn detach_scram(record: &UserScramCredentialRecord) -> UserScramCredentialRecord {
    let own = bytes::Bytes::copy_from_slice;
    UserScramCredentialRecord {
        name: record.name.detach(),
        salt: own(&record.salt),
        stored_key: own(&record.stored_key),
        server_key: own(&record.server_key),
        ..record.clone()
    }
}

fn detach_acl(record: &AccessControlEntryRecord) -> AccessControlEntryRecord {
    AccessControlEntryRecord {
        resource_name: record.resource_name.detach(),
        principal: record.principal.detach(),
        host: record.host.detach(),
        ..record.clone()
    }
}

fn detach_quota(record: &ClientQuotaRecord) -> ClientQuotaRecord {
    let mut record = record.clone();
    record.key = record.key.detach();
    for part in &mut record.entity {
        part.entity_type = part.entity_type.detach();
        part.entity_name = part.entity_name.as_ref().map(Str::detach);
    }
    record
}

fn detach_token(record: &DelegationTokenRecord) -> DelegationTokenRecord {
    let mut record = record.clone();
    record.owner = record.owner.detach();
    record.requester = record.requester.detach();
    record.token_id = record.token_id.detach();
    for renewer in &mut record.renewers {
        *renewer = renewer.detach();
    }
    record
}
