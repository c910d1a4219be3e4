//! `struct __sk_buff` (`include/uapi/linux/bpf.h`), as far as a caller may set it.

/// Size of the structure since Linux 5.18, in 4-byte words.
const WORDS: usize = 48;

/// Word numbers of the fields.
const MARK: usize = 2;
const PRIORITY: usize = 8;
const IFINDEX: usize = 10;
const CB: usize = 12;
const TIMESTAMP: usize = 38;
const GSO_SEGS: usize = 41;
const GSO_SIZE: usize = 44;

/// The context of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skb {
    pub ifindex: u32,
    pub mark: u32,
    pub priority: u32,
    pub cb: [u32; 5],
    /// `tstamp`, ns.
    pub timestamp: u64,
    /// 0 where the packet is not GSO.
    pub gso_segs: u32,
    pub gso_size: u32,
}

impl Skb {
    fn words(&self) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        words[MARK] = self.mark;
        words[PRIORITY] = self.priority;
        words[IFINDEX] = self.ifindex;
        words[CB..CB + 5].copy_from_slice(&self.cb);
        let timestamp = self.timestamp.to_ne_bytes();
        for (word, bytes) in words[TIMESTAMP..].iter_mut().zip(timestamp.as_chunks().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        words[GSO_SEGS] = self.gso_segs;
        words[GSO_SIZE] = self.gso_size;
        words
    }

    /// As the kernel takes it.
    pub fn to_bytes(self) -> Vec<u8> {
        self.words().into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    /// Fails if a program has changed what it got.
    #[track_caller]
    pub fn assert_unchanged(&self, after: &[u8]) {
        let after: Vec<u32> =
            after.as_chunks().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)).collect();
        let before = self.words();
        for word in [MARK, PRIORITY, IFINDEX].into_iter().chain(CB..CB + 5) {
            assert_eq!(after[word], before[word], "word {word} of __sk_buff");
        }
        assert_eq!(after[TIMESTAMP..TIMESTAMP + 2], before[TIMESTAMP..TIMESTAMP + 2], "tstamp");
    }
}
