//! Counters of an end, one copy per CPU.

/// What one direction of an end has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Socket buffers seen at the TC hook. A GSO super-frame is one.
    pub packets: u64,
    /// Sum of `skb->len`, Ethernet header included.
    pub bytes: u64,
    /// Frames that a wire would have carried: the sum of `gso_segs`, 1 for a plain packet.
    pub segments: u64,
}

/// Both directions of an end, from that end's own point of view, as in `ip -s link`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EndCounters {
    /// Received by the end: TC ingress.
    pub rx: Counters,
    /// Sent by the end: TC egress.
    pub tx: Counters,
    /// Received packets that went on by the fast path, TC and XDP.
    pub redirected: [u64; 2],
    /// Segments that the fast path by TC has put into the pair at this end: like what is sent, they
    /// arrive at the peer, but they pass no egress hook. By XDP they are in [`Self::tx`].
    pub redirected_in: u64,
}

/// Direction of a packet, from the end's own point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Arrives at the end.
    Rx = 0,
    /// Leaves the end.
    Tx = 1,
}

impl Direction {
    /// Both of them, each in its own place.
    pub const BOTH: [Self; 2] = [Self::Rx, Self::Tx];

    /// The label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        }
    }
}

impl Counters {
    /// Adds one packet of `bytes` that a wire would have carried as `segments` frames.
    #[inline(always)]
    pub fn add(&mut self, bytes: u32, segments: u32) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
        self.segments += u64::from(segments);
    }

    /// The sum of two readings, for example of two CPUs. Wraps as the kernel's counters do.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            segments: self.segments.wrapping_add(other.segments),
        }
    }
}

impl EndCounters {
    /// The sum of two readings, for example of two CPUs.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let [tc, xdp] = self.redirected;
        let redirected =
            [tc.wrapping_add(other.redirected[0]), xdp.wrapping_add(other.redirected[1])];
        Self {
            rx: self.rx.plus(other.rx),
            tx: self.tx.plus(other.tx),
            redirected,
            redirected_in: self.redirected_in.wrapping_add(other.redirected_in),
        }
    }

    /// The counters of one direction.
    #[must_use]
    pub const fn direction(&self, direction: Direction) -> &Counters {
        match direction {
            Direction::Rx => &self.rx,
            Direction::Tx => &self.tx,
        }
    }

    /// The same, to be changed.
    #[inline(always)]
    pub fn direction_mut(&mut self, direction: Direction) -> &mut Counters {
        match direction {
            Direction::Rx => &mut self.rx,
            Direction::Tx => &mut self.tx,
        }
    }
}
