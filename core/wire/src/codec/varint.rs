//! Variable-length integers: seven bits a byte, least significant first, the top bit of each byte
//! set where another follows. Signed ones are zigzagged first, so that small negatives are short.
//!
//! An unsigned varint is read strictly: at most five bytes (ten for 64 bits), and no bit beyond the
//! type's width, as Kafka reads it too.

/// The most bytes of a 32-bit varint.
pub const MAX_LEN_32: usize = 5;
/// The most bytes of a 64-bit varint.
pub const MAX_LEN_64: usize = 10;

/// Why a varint could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarintError {
    /// The bytes end within the number.
    Short,
    /// The number has more bits than its type.
    TooLong,
}

/// Reads an unsigned varint from the head of `bytes`: its value and its length.
pub fn read_u32(bytes: &[u8]) -> Result<(u32, usize), VarintError> {
    let (value, len) = read(bytes, MAX_LEN_32)?;
    Ok((u32::try_from(value).map_err(|_| VarintError::TooLong)?, len))
}

/// Reads a zigzag varint of 32 bits.
pub fn read_i32(bytes: &[u8]) -> Result<(i32, usize), VarintError> {
    let (value, len) = read_u32(bytes)?;
    Ok(((value >> 1) as i32 ^ -((value & 1) as i32), len))
}

/// Reads a zigzag varint of 64 bits.
pub fn read_i64(bytes: &[u8]) -> Result<(i64, usize), VarintError> {
    let (value, len) = read(bytes, MAX_LEN_64)?;
    Ok(((value >> 1) as i64 ^ -((value & 1) as i64), len))
}

fn read(bytes: &[u8], max_len: usize) -> Result<(u64, usize), VarintError> {
    let mut value: u64 = 0;
    for (i, &byte) in bytes.iter().take(max_len).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == MAX_LEN_64 - 1 && bits > 1 {
            return Err(VarintError::TooLong);
        }
        value |= bits << (7 * i);
        if byte < 0x80 {
            return Ok((value, i + 1));
        }
    }
    Err(if bytes.len() < max_len {
        VarintError::Short
    } else {
        VarintError::TooLong
    })
}

/// A varint as bytes, and how many of them count.
pub fn encode_u64(mut value: u64) -> ([u8; MAX_LEN_64], usize) {
    let mut bytes = [0; MAX_LEN_64];
    let mut len = 0;
    loop {
        bytes[len] = value as u8 & 0x7f;
        value >>= 7;
        len += 1;
        if value == 0 {
            return (bytes, len);
        }
        bytes[len - 1] |= 0x80;
    }
}

/// Zigzags a 64-bit number; a 32-bit one gives the same bytes when widened first.
pub const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// How many bytes an unsigned varint takes.
pub const fn len_u64(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// How many bytes a zigzag varint takes.
pub const fn len_i64(value: i64) -> usize {
    len_u64(zigzag(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_comes_back() {
        for shift in 0..64 {
            for value in [
                1i64 << shift,
                (1i64 << shift).wrapping_sub(1),
                -(1i64 << shift.min(62)),
            ] {
                let (bytes, len) = encode_u64(zigzag(value));
                assert_eq!(read_i64(&bytes[..len]), Ok((value, len)));
                assert_eq!(len, len_i64(value));
                assert_eq!(read_i64(&bytes[..len - 1]), Err(VarintError::Short));
                if let Ok(value) = i32::try_from(value) {
                    assert_eq!(read_i32(&bytes[..len]), Ok((value, len)));
                }
            }
        }
    }

    #[test]
    fn numbers_wider_than_their_type_are_refused() {
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok((u32::MAX, 5)));
        assert_eq!(
            read_u32(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(VarintError::TooLong)
        );
        assert_eq!(read_u32(&[0x80; 6]), Err(VarintError::TooLong));
        assert_eq!(read_i64(&[0xff; 10]), Err(VarintError::TooLong));
        assert_eq!(read_i64(&[0x80; 9]), Err(VarintError::Short));
    }
}
