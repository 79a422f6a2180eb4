//! gRPC framing of responses. The body is ours because tonic's codec would copy every message into a buffer that each
//! stream keeps.

use crate::{
    connection::{Protocol, Response},
    delta,
    shared_responses::SharedResponses,
    sotw,
    wire::{put_field, put_string},
};
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};
use tokio::sync::mpsc;
use tonic::Status;
use xds_wire::{Encoded, Form};

/// Each frame is a write of its own, so small ones cost a multiple: resources are gathered into segments of this size.
const SEGMENT: usize = 64 << 10;

/// A resource, or a part of one, of this size goes out as it is, without a copy.
const LARGE_RESOURCE: usize = 16 << 10;

/// A message that fits into this is one frame.
const SMALL_MESSAGE: usize = 16 << 10;

/// What the driver of a stream hands to its body.
pub(crate) enum Outgoing {
    /// A framed message.
    Message(Message),
    /// The last thing on the stream.
    End(Status),
}

/// A framed message that is written piece by piece, as the peer takes it.
pub(crate) struct Message {
    head: BytesMut,
    rest: Rest,
    /// The length with the frame's header, in bytes.
    pub length: usize,
    sent: Option<(prometheus::Histogram, Instant)>,
}

enum Rest {
    Shared(Bytes),
    Resources(Pieces),
    Nothing,
}

/// How resources stand in the responses of a protocol.
pub(crate) fn form(protocol: Protocol) -> Form {
    match protocol {
        Protocol::Delta => Form::Delta,
        Protocol::StateOfTheWorld => Form::StateOfTheWorld,
    }
}

/// The bytes of resources that have not been written yet.
struct Pieces {
    form: Form,
    resources: std::vec::IntoIter<Arc<Encoded>>,
    current: Option<(Arc<Encoded>, usize)>,
    next: Option<Bytes>,
}

impl Pieces {
    fn new(form: Form, resources: Vec<Arc<Encoded>>) -> Self {
        let mut pieces = Self { form, resources: resources.into_iter(), current: None, next: None };
        pieces.advance();
        pieces
    }

    fn advance(&mut self) {
        loop {
            if let Some((resource, index)) = &mut self.current
                && let Some(piece) = resource.piece(self.form, *index)
            {
                *index += 1;
                self.next = Some(piece);
                return;
            }
            self.current = self.resources.next().map(|resource| (resource, 0));
            if self.current.is_none() {
                self.next = None;
                return;
            }
        }
    }
}

impl Message {
    /// Frames a response. `sent` observes the seconds until the last piece was taken.
    pub fn new(response: Response, control_plane: &str, shared: &SharedResponses, sent: Option<(prometheus::Histogram, Instant)>) -> Self {
        let protocol = response.protocol;
        let mut head = BytesMut::with_capacity(256);
        head.put_slice(&[0; 5]);
        put_head(&response, control_plane, &mut head);
        let form = form(protocol);
        let body: usize = response.resources.iter().map(|resource| resource.length(form)).sum();
        let pieces: usize = response.resources.iter().map(|resource| resource.pieces()).sum();
        let payload = head.len() - 5 + body;
        if let Some(length) = head.get_mut(1..5) {
            length.copy_from_slice(&u32::try_from(payload).unwrap_or(u32::MAX).to_be_bytes());
        }
        let length = payload + 5;
        let few_large = body >= LARGE_RESOURCE.saturating_mul(pieces);
        let whole = (length > SMALL_MESSAGE && !few_large).then(|| shared.body(protocol, &response.resources, body)).flatten();
        let rest = match whole {
            Some(bytes) => Rest::Shared(bytes),
            None => Rest::Resources(Pieces::new(form, response.resources)),
        };
        Self { head, rest, length, sent }
    }

    /// The next piece to write; `None` after the last.
    fn next_segment(&mut self) -> Option<Bytes> {
        let segment = self.gather();
        if segment.is_none()
            && let Some((histogram, since)) = self.sent.take()
        {
            histogram.observe(since.elapsed().as_secs_f64());
        }
        segment
    }

    fn gather(&mut self) -> Option<Bytes> {
        let mut segment = std::mem::take(&mut self.head);
        let Rest::Resources(pieces) = &mut self.rest else {
            if !segment.is_empty() {
                return Some(segment.freeze());
            }
            return match std::mem::replace(&mut self.rest, Rest::Nothing) {
                Rest::Shared(bytes) => Some(bytes),
                _ => None,
            };
        };
        while let Some(bytes) = &pieces.next {
            if bytes.len() >= LARGE_RESOURCE || segment.len() + bytes.len() > SEGMENT {
                if segment.is_empty() {
                    let whole = pieces.next.take();
                    pieces.advance();
                    return whole;
                }
                break;
            }
            segment.reserve(if segment.capacity() == 0 { SEGMENT } else { bytes.len() });
            segment.put_slice(bytes);
            pieces.advance();
        }
        (!segment.is_empty()).then(|| segment.freeze())
    }
}

fn put_head(response: &Response, control_plane: &str, out: &mut BytesMut) {
    let mut identifier = BytesMut::new();
    put_string(&mut identifier, 1, control_plane);
    match response.protocol {
        Protocol::Delta => {
            delta::put_head(response, out);
            put_field(out, 7, &identifier); // control_plane
        }
        Protocol::StateOfTheWorld => {
            sotw::put_head(response, out);
            put_field(out, 6, &identifier); // control_plane
        }
    }
}

/// The response body of a stream. The peer's flow control decides when the next piece is made.
#[derive(Default)]
pub struct ResponseBody {
    messages: Option<mpsc::Receiver<Outgoing>>,
    current: Option<Message>,
}

impl ResponseBody {
    pub(crate) fn new(messages: mpsc::Receiver<Outgoing>) -> Self {
        Self { messages: Some(messages), current: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(segment) = self.current.as_mut().and_then(Message::next_segment) {
                return Poll::Ready(Some(Ok(Frame::data(segment))));
            }
            self.current = None;
            let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
            let status = match ready!(messages.poll_recv(context)) {
                Some(Outgoing::Message(message)) => {
                    self.current = Some(message);
                    continue;
                }
                Some(Outgoing::End(status)) => status,
                None => Status::internal("the stream has ended unexpectedly"),
            };
            self.messages = None;
            let mut trailers = HeaderMap::new();
            return Poll::Ready(match status.add_header(&mut trailers) {
                Ok(()) => Some(Ok(Frame::trailers(trailers))),
                Err(_) => None,
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_none() && self.current.is_none()
    }
}
