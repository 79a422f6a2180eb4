//! A walk over the fields of an encoded protobuf message.

/// Calls `visit` with the number and the content of every length-delimited field, and with the value of every varint
/// field as `Value::Varint`. Stops at the first byte that is no protobuf.
pub fn walk<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(u64, Value<'a>)) {
    while let Some(tag) = varint(&mut bytes) {
        let value = match tag & 7 {
            0 => varint(&mut bytes).map(Value::Varint),
            1 => take(&mut bytes, 8).map(Value::Bytes),
            2 => varint(&mut bytes).and_then(|length| take(&mut bytes, length as usize)).map(Value::Bytes),
            5 => take(&mut bytes, 4).map(Value::Bytes),
            _ => None,
        };
        let Some(value) = value else { return };
        visit(tag >> 3, value);
    }
}

/// The content of a field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// A number.
    Varint(u64),
    /// A string, message or fixed-size number.
    Bytes(&'a [u8]),
}

/// The last length-delimited field of this number.
pub fn bytes_of(message: &[u8], number: u64) -> Option<&[u8]> {
    let mut found = None;
    walk(message, |field, value| {
        if let (true, Value::Bytes(bytes)) = (field == number, value) {
            found = Some(bytes);
        }
    });
    found
}

/// The last field of this number, as a string; empty if it is missing.
pub fn text_of(message: &[u8], number: u64) -> &str {
    bytes_of(message, number).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_garbage_ends_the_walk() {
        let message = b"\x08\x96\x01\x12\x02hi\x1d\x01\x02\x03\x04";
        let mut seen = Vec::new();
        walk(message, |number, value| seen.push((number, value)));
        assert_eq!(seen, [(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Bytes(&[1, 2, 3, 4]))]);
        assert_eq!(text_of(message, 2), "hi");
        assert_eq!(bytes_of(b"\x12\x7fhi", 2), None);
    }
}
