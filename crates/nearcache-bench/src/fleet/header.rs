//! What a value says of itself, so that whoever reads it knows which write it comes from. Shares no code with what is
//! checked by it.

const MAGIC: [u8; 4] = *b"near";

/// Bytes a header takes, and the least a value has.
pub(crate) const HEADER: usize = 17;

/// What a value says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The key it was written to.
    pub(crate) key: u32,
    /// Which write of that key it is, from 1.
    pub(crate) sequence: u64,
}

impl Header {
    /// A value of `bytes` bytes, at least [`HEADER`], that begins with this header and ends with the write's mark.
    pub(super) fn encode(self, bytes: usize) -> Vec<u8> {
        let mut value = vec![self.mark(); bytes.max(HEADER)];
        value[..4].copy_from_slice(&MAGIC);
        value[4..8].copy_from_slice(&self.key.to_le_bytes());
        value[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        value
    }

    /// Reads a value back; `None` when it is none of ours or not in one piece.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let header = value.first_chunk::<{ HEADER - 1 }>()?;
        let (magic, rest) = header.split_first_chunk::<4>()?;
        let (key, sequence) = rest.split_first_chunk::<4>()?;
        let decoded = Self {
            key: u32::from_le_bytes(*key),
            sequence: u64::from_le_bytes(sequence.try_into().ok()?),
        };
        let whole = value.len() >= HEADER && value.last() == Some(&decoded.mark());
        (*magic == MAGIC && whole).then_some(decoded)
    }

    /// Fills the rest of the value, so that the end of one write cannot pass for that of its neighbour.
    fn mark(self) -> u8 {
        self.sequence as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_what_it_is() {
        let header = Header {
            key: 7,
            sequence: 300,
        };
        for bytes in [0, HEADER, 100, 20_000] {
            let value = header.encode(bytes);
            assert_eq!(value.len(), bytes.max(HEADER));
            assert_eq!(Header::decode(&value), Some(header));
        }
    }

    #[test]
    fn what_is_not_a_whole_value_is_none() {
        let mut value = Header {
            key: 7,
            sequence: 300,
        }
        .encode(100);
        assert_eq!(
            Header::decode(&value[..99]).map(|header| header.key),
            Some(7),
            "same mark inside"
        );
        assert_eq!(Header::decode(&value[..HEADER - 1]), None);
        value[99] = 0;
        assert_eq!(Header::decode(&value), None);
        assert_eq!(Header::decode(b""), None);
        assert_eq!(Header::decode(&[0; 100]), None);
    }
}
