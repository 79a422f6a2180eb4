//! A gRPC body, cut into its messages. Nothing is decoded, and what is large passes in pieces.

use bytes::{Buf as _, Bytes, BytesMut};

/// One byte that says whether the message is compressed, four with its length.
const HEADER: usize = 5;

/// Something that can be passed on.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// A whole message with its header.
    Message(Bytes),
    /// A part of a message that is too large to be held.
    Part(Bytes),
}

/// Takes chunks in, gives messages out.
pub(crate) struct Messages {
    held: BytesMut,
    /// Bytes of a large message that are still to come.
    passing: usize,
    /// Messages that are larger pass in parts.
    limit: usize,
}

impl Messages {
    pub fn new(limit: usize) -> Self {
        Self { held: BytesMut::new(), passing: 0, limit }
    }

    /// A chunk has come.
    pub fn push(&mut self, chunk: &Bytes) {
        self.held.extend_from_slice(chunk);
    }

    /// The next piece of what has come.
    pub fn next(&mut self) -> Option<Piece> {
        if self.passing == 0 {
            let whole = HEADER.checked_add(usize::try_from(self.held.get(1..).and_then(|mut rest| rest.try_get_u32().ok())?).ok()?)?;
            if whole <= self.limit {
                return (self.held.len() >= whole).then(|| Piece::Message(self.held.split_to(whole).freeze()));
            }
            self.passing = whole;
        }
        let now = self.passing.min(self.held.len());
        self.passing -= now;
        (now > 0).then(|| Piece::Part(self.held.split_to(now).freeze()))
    }
}

/// A message without its header; `None` if it is compressed, which nobody asks for.
pub(crate) fn content(message: &Bytes) -> Option<Bytes> {
    (message.first() == Some(&0) && message.len() >= HEADER).then(|| message.slice(HEADER..))
}

/// A message with its header.
pub(crate) fn framed(content: &Bytes) -> Bytes {
    let mut message = BytesMut::with_capacity(content.len() + HEADER);
    message.extend_from_slice(&[0]);
    message.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(content);
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_messages_wherever_they_are_cut() {
        let (first, second) = (framed(&Bytes::from_static(b"first")), framed(&Bytes::from_static(b"")));
        let large = framed(&Bytes::from(vec![7; 100]));
        let all: Vec<u8> = [first.clone(), large.clone(), second.clone()].concat();
        for size in 1..all.len() {
            let (mut messages, mut whole, mut parts) = (Messages::new(50), Vec::new(), Vec::new());
            for chunk in all.chunks(size) {
                messages.push(&Bytes::copy_from_slice(chunk));
                while let Some(piece) = messages.next() {
                    match piece {
                        Piece::Message(message) => whole.push(message),
                        Piece::Part(part) => parts.extend_from_slice(&part),
                    }
                }
            }
            assert_eq!(whole, [first.clone(), second.clone()], "in chunks of {size}");
            assert_eq!(parts, large, "in chunks of {size}");
        }
        assert_eq!(content(&first).as_deref(), Some(b"first".as_slice()));
    }
}
