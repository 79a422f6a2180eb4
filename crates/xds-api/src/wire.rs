//! Encoding and decoding that is compiled here, once. prost's own methods are generic over the buffer, so each crate that
//! called them would compile the code of the whole message tree again.

use bytes::Bytes;
pub use prost::DecodeError;
use prost::Message;

use crate::google::protobuf::Any;

/// The wire form of a message. Every top-level message of the crate has it.
pub trait Wire: Sized {
    /// The type URL under which the message stands in an [`Any`] and in discovery requests.
    const TYPE_URL: &'static str;

    /// The encoded message. Equal messages give equal bytes: all maps are ordered.
    fn to_bytes(&self) -> Bytes;

    /// Decodes one message from all of `bytes`. Unknown fields are dropped.
    ///
    /// # Errors
    /// When the bytes are not a valid encoding of the message.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// The message packed with its type URL.
    fn to_any(&self) -> Any {
        Any { type_url: Self::TYPE_URL.to_owned(), value: self.to_bytes() }
    }
}

/// Implements [`Wire`] for one generated message.
macro_rules! wire {
    ($message:ty, $type_url:literal) => {
        impl Wire for $message {
            const TYPE_URL: &'static str = $type_url;

            #[inline(never)]
            fn to_bytes(&self) -> Bytes {
                self.encode_to_vec().into()
            }

            #[inline(never)]
            fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
                Self::decode(bytes)
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/wire_impls.rs"));
