//! Kernel versions.

use std::fmt;

/// The first two numbers of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelVersion(pub u16, pub u16);

impl KernelVersion {
    /// Reads the beginning of a release such as `6.1.0-56-cloud-amd64`.
    #[must_use]
    pub fn of(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The running kernel's release, as `uname -r` prints it.
#[must_use]
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_beginning_of_a_release() {
        assert_eq!(KernelVersion::of("6.1.0-56-cloud-amd64"), Some(KernelVersion(6, 1)));
        assert_eq!(KernelVersion::of("6.12.117+deb12"), Some(KernelVersion(6, 12)));
        assert_eq!(KernelVersion::of("7.0-rc1"), Some(KernelVersion(7, 0)));
        assert_eq!(KernelVersion::of("linux"), None);
        assert!(KernelVersion(6, 6) > KernelVersion(6, 1));
        assert!(KernelVersion(6, 12) > KernelVersion(6, 6));
    }
}
