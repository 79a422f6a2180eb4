//! Length-delimited protobuf fields, written by hand: the outer message of a response is a few of them around bytes
//! that are encoded already.

use bytes::{BufMut, BytesMut};

/// Writes a length-delimited field with a number below 16; an empty one is left out, as protobuf does.
pub(crate) fn put_field(out: &mut BytesMut, number: u8, content: &[u8]) {
    if content.is_empty() {
        return;
    }
    out.put_u8((number << 3) | 2);
    let mut length = content.len();
    while length >= 0x80 {
        out.put_u8((length as u8 & 0x7f) | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(content);
}

/// Writes a string field.
pub(crate) fn put_string(out: &mut BytesMut, number: u8, content: &str) {
    put_field(out, number, content.as_bytes());
}
