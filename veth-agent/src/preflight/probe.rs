//! How the kernel is asked. Nothing on the node changes: what has to be tried is tried in a
//! namespace that nobody else sees and that ends with the question.

use std::{fs, io};

use aya::{
    maps::{MapData, MapType},
    programs::{ProgramType, SchedClassifier, TcAttachType, loaded_links, tc::qdisc_add_clsact},
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use netlink_packet_route::link::InfoKind;
use nix::libc::{EACCES, EAGAIN, EINVAL, ENOENT, EPERM};

use super::Feature;
use crate::{
    btf,
    cause::{chain, errno},
    netlink, netns,
};

/// The switch of the run statistics.
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Asks for one feature.
///
/// # Errors
/// Why the kernel did not say, most often for want of a capability.
pub fn probe(feature: Feature) -> Result<bool, String> {
    match feature {
        Feature::StrictDumps => strict_dumps(),
        Feature::NetnsCookie => refused_is_absent(netns::cookie()),
        Feature::Clsact => elsewhere(clsact),
        Feature::Tcx => refused_is_absent(SchedClassifier::query_tcx("lo", TcAttachType::Ingress)),
        Feature::LinkPinning | Feature::LinkUpdate => links(),
        Feature::Btf => Ok(btf::is_there()),
        Feature::BpfStats => fs::exists(STATS).map_err(|error| format!("{STATS}: {error}")),
        Feature::RingBuffer => is_map_supported(MapType::RingBuf).map_err(|error| why(&error)),
        Feature::MmapableMaps => mmapable(),
        Feature::RedirectPeer => {
            helper(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_redirect_peer)
        }
        // Came in the same series (commits 0165cc817075 and f45d5b6ce2e8, Linux 5.18).
        Feature::XdpFrags => helper(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_get_buff_len),
        // The kernel asks the device whether it takes large frames since it can tell (commits
        // b9d460c92455 and d3d854fd6a1d, Linux 6.3); before, `xdp_do_redirect` drops them all.
        Feature::XdpFragRedirect => {
            netlink::has_family("netdev").map_err(|error| error.to_string())
        }
        Feature::DropReasons => drop_reasons(),
        Feature::Netkit => elsewhere(netkit),
    }
}

/// What the kernel refuses it has not got, unless the refusal is one of rights.
fn refused_is_absent<T, E: std::error::Error + 'static>(
    answer: Result<T, E>,
) -> Result<bool, String> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if matches!(errno(&error), None | Some(EPERM | EACCES)) => Err(why(&error)),
        Err(_) => Ok(false),
    }
}

/// Why there is no answer, in a few words where it is the usual reason.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    match errno(error) {
        Some(EPERM | EACCES) => "not permitted; run it as root".to_owned(),
        _ => chain(error),
    }
}

fn helper(program: ProgramType, helper: BpfHelper) -> Result<bool, String> {
    is_helper_supported(program, helper).map_err(|error| why(&error))
}

fn strict_dumps() -> Result<bool, String> {
    use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

    let socket = Socket::new(NETLINK_ROUTE).map_err(|error| error.to_string())?;
    refused_is_absent(socket.set_netlink_get_strict_chk(true))
}

/// Links have ids since the release after the one that lets them be pinned and updated, and both
/// are older than any kernel that the agent runs on.
fn links() -> Result<bool, String> {
    loaded_links().next().map_or(Ok(true), link_is_known)
}

/// One that ends while it is looked at, or has only just begun, shows that there are such.
fn link_is_known<T, E: std::error::Error + 'static>(answer: Result<T, E>) -> Result<bool, String> {
    match answer {
        Err(error) if matches!(errno(&error), Some(ENOENT | EAGAIN)) => Ok(true),
        other => refused_is_absent(other),
    }
}

fn mmapable() -> Result<bool, String> {
    let array = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, 4, 8, 1, BPF_F_MMAPABLE);
    refused_is_absent(MapData::create(array, "va_probe", None))
}

/// The tracepoint hands out a reason since there is an enumeration of reasons.
fn drop_reasons() -> Result<bool, String> {
    let program = is_program_supported(ProgramType::RawTracePoint);
    if !program.map_err(|error| why(&error))? {
        return Ok(false);
    }
    match fs::read(btf::KERNEL) {
        Ok(types) => {
            let name = b"\0skb_drop_reason\0";
            Ok(types.windows(name.len()).any(|window| window == name))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{}: {error}", btf::KERNEL)),
    }
}

/// Asks in a namespace of its own.
fn elsewhere(question: fn() -> Result<bool, String>) -> Result<bool, String> {
    netns::within_new(question).map_err(|error| why(&error)).flatten()
}

fn clsact() -> Result<bool, String> {
    if !refused_is_absent(qdisc_add_clsact("lo"))? {
        return Ok(false);
    }
    let known = netlink::block_on(async |connection| connection.add_empty_bpf_filter().await);
    match known.map_err(|error| error.errno().ok_or_else(|| error.to_string())) {
        // It knows the kind and misses its program.
        Ok(()) | Err(Ok(EINVAL)) => Ok(true),
        Err(Ok(_)) => Ok(false),
        Err(Err(why)) => Err(why),
    }
}

fn netkit() -> Result<bool, String> {
    let made = netlink::block_on(async |connection| connection.add_kind(InfoKind::Netkit).await);
    refused_is_absent(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_has_just_ended_is_one_all_the_same() {
        let answer = |errno| link_is_known::<(), _>(Err(io::Error::from_raw_os_error(errno)));
        assert_eq!((answer(ENOENT), answer(EAGAIN)), (Ok(true), Ok(true)));
        assert_eq!(answer(EINVAL), Ok(false));
        assert!(answer(EPERM).is_err());
    }
}
