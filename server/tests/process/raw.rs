//! A client that may send anything.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use ottla_wire::{
    ApiRequest, Decoder, Encoder, Message,
    messages::{ApiKey, RequestHeader, ResponseHeader},
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends bytes; whether the other end took them.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Says that no more comes.
    pub(crate) fn end(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Waits until the other end has closed the connection, without a word.
    pub(crate) fn wait_for_close(mut self) {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            // Bytes that it did not read make its kernel reset the connection.
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(rest.is_empty(), "{rest:?}");
    }

    /// Sends a request in a version and gives the response.
    pub(crate) fn call<R: ApiRequest>(&mut self, version: i16, request: &R) -> R::Response {
        assert!(self.send(&frame(R::KEY, version, version, request)));
        self.response::<R>(version)
    }

    /// The length of the next response, of which nothing more is read.
    pub(crate) fn begun(&mut self) -> usize {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        u32::from_be_bytes(len) as usize
    }

    /// The next response, read as that to `R` in a version.
    pub(crate) fn response<R: ApiRequest>(&mut self, version: i16) -> R::Response {
        let mut body = vec![0; self.begun()];
        self.0.read_exact(&mut body).unwrap();
        let mut decoder = Decoder::new(Bytes::from(body));
        ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version)).unwrap();
        let response = R::Response::decode(&mut decoder, version).unwrap();
        decoder.finish().unwrap();
        response
    }
}

/// A request in the form of version `form`, that says it is of version `version`.
pub(crate) fn frame<M: Message>(api: ApiKey, form: i16, version: i16, body: &M) -> Vec<u8> {
    let header = RequestHeader {
        request_api_key: api.code(),
        request_api_version: version,
        correlation_id: 7,
        client_id: Some("raw".into()),
        ..RequestHeader::default()
    };
    let mut encoder = Encoder::new();
    header
        .encode(&mut encoder, api.request_header_version(form))
        .unwrap();
    body.encode(&mut encoder, form).unwrap();
    let body = encoder.finish().into_bytes();
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}
