//! What a static libpcap has for devices that are none of ours, and what would bring D-Bus and InfiniBand into
//! the binary. The linker takes these instead; only libpcap's lists of kinds of devices name them, and nothing
//! here opens a device or lists any.

use std::{ffi::c_int, hint::black_box, ptr};

/// `PCAP_ERROR`, or a null pointer: nothing there.
macro_rules! unused {
    ($($create:ident, $findalldevs:ident);+ $(;)?) => {
        $(
            // SAFETY: no other library of this binary has these names.
            #[unsafe(no_mangle)]
            extern "C" fn $create(_: *const u8, _: *mut u8, _: *mut c_int) -> *mut u8 {
                ptr::null_mut()
            }

            // SAFETY: as above.
            #[unsafe(no_mangle)]
            extern "C" fn $findalldevs(_: *mut u8, _: *mut u8) -> c_int {
                -1
            }
        )+

        /// Makes the linker look at these before it looks into libpcap.
        pub fn keep() {
            $(
                black_box($create as *const ());
                black_box($findalldevs as *const ());
            )+
        }
    };
}

unused! {
    dbus_create, dbus_findalldevs;
    rdmasniff_create, rdmasniff_findalldevs;
}
