//! Somebody else's programs on the same hooks.

use std::{
    ffi::CString,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::Result;
use aya::{
    programs::{LinkOrder, ProgramInfo, SchedClassifier, TcAttachType, tc::TcAttachOptions},
    sys::{Stats, enable_stats},
};
use nix::libc;

use crate::{Node, run};

/// `r0 = -1; exit`: leaves every packet to whoever comes next (`TCX_NEXT`, `TC_ACT_UNSPEC`).
const LEAVE_TO_NEXT: [[u8; 8]; 2] =
    [[0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// `r0 = 2; exit`: drops every packet (`TC_ACT_SHOT`).
const DROP: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`, `include/uapi/linux/bpf.h`.
#[repr(C)]
struct LoadProgram {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` for `BPF_OBJ_PIN`.
#[repr(C)]
struct PinObject {
    path: u64,
    fd: u32,
    flags: u32,
}

/// A TC program that is not the agent's. It looks at every packet and leaves it to the next one;
/// the kernel counts how often it runs.
pub struct Foreign {
    program: SchedClassifier,
    pin: PathBuf,
    _counting: OwnedFd,
}

impl Foreign {
    /// Loads it and pins it on the node's bpffs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn load(name: &str) -> Result<Self> {
        Self::with_code(name, &LEAVE_TO_NEXT)
    }

    /// One that drops every packet instead.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn dropping(name: &str) -> Result<Self> {
        Self::with_code(name, &DROP)
    }

    fn with_code(name: &str, code: &[[u8; 8]; 2]) -> Result<Self> {
        let counting = enable_stats(Stats::RunTime)?;
        let pin = Path::new("/sys/fs/bpf").join(name);
        load_pinned(&pin, code)?;
        Ok(Self { program: SchedClassifier::from_pin(&pin)?, pin, _counting: counting })
    }

    /// Its id in the kernel.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn id(&self) -> Result<u32> {
        Ok(ProgramInfo::from_pin(&self.pin)?.id())
    }

    /// How often it has run, which is how many packets it has seen.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn packets(&self) -> Result<u64> {
        Ok(ProgramInfo::from_pin(&self.pin)?.run_count())
    }

    /// Attaches it to both hooks by TCX, ahead of all others or behind them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, node: &Node, netns: &str, interface: &str, first: bool) -> Result<()> {
        node.within(netns, move || self.attach_here(interface, first))
    }

    /// Attaches it to the ingress hook alone, behind all others.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach_ingress(&mut self, node: &Node, netns: &str, interface: &str) -> Result<()> {
        node.within(netns, move || {
            let options = TcAttachOptions::TcxOrder(LinkOrder::last());
            self.program.attach_with_options(interface, TcAttachType::Ingress, options)?;
            Ok(())
        })
    }

    /// Attaches it to both hooks of an interface of the calling thread's namespace, as
    /// [`Self::attach`] does.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach_here(&mut self, interface: &str, first: bool) -> Result<()> {
        for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
            let order = if first { LinkOrder::first() } else { LinkOrder::last() };
            self.program.attach_with_options(interface, hook, TcAttachOptions::TcxOrder(order))?;
        }
        Ok(())
    }

    /// Puts it on both hooks as a filter below the `clsact` that is there, with what `tc` takes as
    /// further options, such as a priority.
    ///
    /// # Errors
    /// When `tc` refuses.
    pub fn filter(&self, netns: &str, interface: &str, options: &str) -> Result<()> {
        for hook in ["ingress", "egress"] {
            run(&format!(
                "nsenter --net=/run/netns/{netns} tc filter add dev {interface} {hook} {options} \
                 bpf da object-pinned {}",
                self.pin.display()
            ))?;
        }
        Ok(())
    }
}

fn load_pinned(pin: &Path, code: &[[u8; 8]; 2]) -> Result<()> {
    let license = c"GPL";
    let load = LoadProgram {
        program_type: BPF_PROG_TYPE_SCHED_CLS,
        instructions: u32::try_from(code.len())?,
        code: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: the kernel has just given this descriptor, and nobody else knows of it.
    let _program = unsafe { OwnedFd::from_raw_fd(fd) };
    let path = CString::new(pin.as_os_str().as_encoded_bytes())?;
    let pin = PinObject { path: path.as_ptr() as u64, fd: u32::try_from(fd)?, flags: 0 };
    bpf(BPF_OBJ_PIN, &pin)?;
    Ok(())
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: both callers pass a prefix of `union bpf_attr` for their command, of the size given;
    // the pointers in it are to values that live until the call returns, and the kernel writes
    // through none of them.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
