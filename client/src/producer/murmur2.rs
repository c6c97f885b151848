//! The 32-bit MurmurHash2 with Kafka's seed, which decides a keyed record's partition in the Java
//! client. The same key must land in the same partition whichever client wrote it.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The hash of `data`, as Java's `Utils.murmur2` computes it.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition, of `partitions`, that the Java client's default partitioner gives `key`.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    // The sign bit is dropped, not negated.
    let positive = (murmur2(key) & 0x7fff_ffff) as i32;
    positive.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_java_client() {
        // From running org.apache.kafka.common.utils.Utils.murmur2 of Apache Kafka 4.3.0.
        for (text, hash) in VECTORS {
            assert_eq!(murmur2(text.as_bytes()) as i32, *hash, "{text:?}");
        }
    }

    #[test]
    fn the_partition_of_a_key_drops_the_sign_bit() {
        assert_eq!(partition_for_key(b"21", 1), 0);
        assert_eq!(
            partition_for_key(b"21", 10),
            (-973_932_308i32 & 0x7fff_ffff) % 10
        );
        assert_eq!(partition_for_key(b"21", 0), 0);
    }

    const VECTORS: &[(&str, i32)] = &[
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ];
}
