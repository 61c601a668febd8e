//! Small values, packed into one allocation with their count of owners: a look-up then touches one cache line for both,
//! and a value cut from a large buffer does not keep that buffer alive. Large values are never copied.

use bytes::Bytes;

/// Longest value that is copied.
pub(crate) const PACKED_MAX: usize = 255;

/// A value of up to `N` bytes; with its length and its count of owners it fills a common allocator's size class.
struct Packed<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> AsRef<[u8]> for Packed<N> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Returns the value as it is stored: ready to be shared without an allocation.
pub(crate) fn pack(value: Bytes) -> Bytes {
    match value.len() {
        0 => Bytes::new(),
        1..=15 => copy::<15>(&value),
        16..=31 => copy::<31>(&value),
        32..=47 => copy::<47>(&value),
        48..=63 => copy::<63>(&value),
        64..=79 => copy::<79>(&value),
        80..=95 => copy::<95>(&value),
        96..=111 => copy::<111>(&value),
        112..=127 => copy::<127>(&value),
        128..=143 => copy::<143>(&value),
        144..=159 => copy::<159>(&value),
        160..=175 => copy::<175>(&value),
        176..=191 => copy::<191>(&value),
        192..=207 => copy::<207>(&value),
        208..=223 => copy::<223>(&value),
        224..=239 => copy::<239>(&value),
        240..=PACKED_MAX => copy::<255>(&value),
        // A vector that was never shared allocates when it first is: here, so that no look-up does.
        _ => value.clone(),
    }
}

fn copy<const N: usize>(value: &[u8]) -> Bytes {
    let mut bytes = [0; N];
    bytes[..value.len()].copy_from_slice(value);
    // The callers' ranges end at 255.
    let len = value.len() as u8;
    Bytes::from_owner(Packed { len, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_reads_back() {
        for len in 0..600 {
            let value: Vec<u8> = (0..len).map(|n| n as u8).collect();
            assert_eq!(pack(Bytes::from(value.clone())), value);
        }
    }

    #[test]
    fn only_small_values_are_copied() {
        let large = Bytes::from(vec![1; PACKED_MAX + 1]);
        assert_eq!(pack(large.clone()).as_ptr(), large.as_ptr());
        let frame = Bytes::from(vec![1; 100_000]);
        let packed = pack(frame.slice(10..20));
        assert!(frame.try_into_mut().is_ok(), "the frame is nobody else's");
        assert_eq!(packed.len(), 10);
    }
}
