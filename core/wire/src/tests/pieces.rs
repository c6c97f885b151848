//! What an encoder hands out: payloads as they came in, and lengths that are right around them.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec::{Message, SHARE_FROM};
use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::messages::{ApiVersionsRequest, ProduceRequest, SaslAuthenticateRequest};
use crate::{EncodeError, Encoder, RawTaggedField};

fn produce(payloads: &[Bytes]) -> ProduceRequest {
    let partition = |records: &Bytes| PartitionProduceData {
        records: Some(records.clone()),
        ..Default::default()
    };
    ProduceRequest {
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: payloads.iter().map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn a_large_payload_goes_out_as_the_slice_it_came_in_as() {
    let payloads = [
        Bytes::from(vec![1; SHARE_FROM]),
        Bytes::from(vec![2; 10]),
        Bytes::from(vec![3; 5000]),
    ];
    let request = produce(&payloads);
    let pieces: Vec<Bytes> = request.to_pieces(9).unwrap().into_iter().collect();
    let shared = |payload: &Bytes| {
        pieces
            .iter()
            .any(|piece| piece.as_ptr() == payload.as_ptr())
    };
    assert_eq!(payloads.each_ref().map(shared), [true, false, true]);
    assert_eq!(
        ProduceRequest::decode_exact(pieces.concat().into(), 9).unwrap(),
        request
    );
}

#[test]
fn a_frame_begins_with_its_length_whatever_is_shared() {
    let mut e = Encoder::framed();
    produce(&[Bytes::from(vec![7; 3000])])
        .encode(&mut e, 3)
        .unwrap();
    let frame = e.finish().into_bytes();
    assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
}

/// The length of a tagged field goes before it, and may take two bytes once it is known.
#[test]
fn the_length_of_a_tagged_field_counts_what_is_shared_in_it() {
    let data = Bytes::from(vec![9; 2000]);
    let raw = RawTaggedField {
        tag: 3,
        data: data.clone(),
    };
    let mut request = produce(&[]);
    request.unknown_tagged_fields = vec![raw];
    let pieces = request.to_pieces(9).unwrap();
    assert!(pieces.iter().any(|piece| piece.as_ptr() == data.as_ptr()));
    assert_eq!(
        ProduceRequest::decode_exact(pieces.into_bytes(), 9).unwrap(),
        request
    );
}

#[test]
fn what_a_version_cannot_say_is_refused() {
    let named = ApiVersionsRequest {
        client_software_name: "x".into(),
        ..Default::default()
    };
    // Ignorable: dropped where the version lacks it.
    assert_eq!(named.to_bytes(0).unwrap(), Bytes::new());
    let auth = SaslAuthenticateRequest {
        unknown_tagged_fields: vec![RawTaggedField::default()],
        ..Default::default()
    };
    let field = "SaslAuthenticateRequest.unknown_tagged_fields";
    assert_eq!(
        auth.to_bytes(0),
        Err(EncodeError::Lacks { field, version: 0 })
    );
    let long = ApiVersionsRequest {
        client_software_name: alloc::string::String::from_utf8(vec![b'x'; 40_000])
            .unwrap()
            .into(),
        ..Default::default()
    };
    let field = "ApiVersionsRequest.client_software_name";
    assert_eq!(
        long.to_bytes(3),
        Err(EncodeError::TooLong {
            field,
            length: 40_000,
            max: 32_767
        })
    );
    let twice = vec![
        RawTaggedField {
            tag: 4,
            ..Default::default()
        };
        2
    ];
    let twice = ApiVersionsRequest {
        unknown_tagged_fields: twice,
        ..Default::default()
    };
    assert_eq!(
        twice.to_bytes(3),
        Err(EncodeError::TagOrder {
            tag: 4,
            previous: 4
        })
    );
    let unknown = EncodeError::UnsupportedVersion {
        message: "ApiVersionsRequest",
        version: 5,
        min: 0,
        max: 4,
    };
    assert_eq!(named.to_bytes(5), Err(unknown));
}
