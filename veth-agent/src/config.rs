//! Settings of the daemon: flags and file in, one checked value out.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    cli::{AttachArgs, HurryArgs, RunArgs},
    datapath::{AttachMode, AttachOptions},
    fastpath::lease,
};

/// How many ends fit where nothing else is said.
pub const DEFAULT_MAX_ENDS: u32 = 8192;

const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);
const DEFAULT_LINGER: Duration = Duration::from_secs(300);

/// Settings of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the metrics are served.
    pub listen: SocketAddr,
    /// How long the series of an end outlive it.
    pub linger: Duration,
    /// How long the fast path may be taken after the agent was last alive.
    pub lease: Duration,
    /// How programs are attached.
    pub attach: AttachOptions,
}

/// Why the settings are not usable.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {reason}")]
    Parse {
        /// Which file.
        path: String,
        /// What is wrong, and where.
        reason: String,
    },
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<SocketAddr>,
    linger: Option<String>,
    lease: Option<String>,
    attach: Option<AttachMode>,
    max_ends: Option<u32>,
    expedite_rcu: bool,
}

impl Config {
    /// The settings that flags, file and defaults give, in this order.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn resolve(args: &RunArgs) -> Result<Self, Vec<ConfigError>> {
        let path = args.config.as_deref();
        let file = path.map(read).transpose().map_err(|error| vec![error])?.unwrap_or_default();
        let Checked { linger, lease, max_ends } = file.check(path)?;
        Ok(Self {
            listen: args.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            linger: args.linger.or(linger).unwrap_or(DEFAULT_LINGER),
            lease: args.lease.or(lease).unwrap_or(lease::DEFAULT),
            attach: AttachOptions {
                mode: args.attach.attach.or(file.attach).unwrap_or_default(),
                max_ends: args.attach.max_ends.or(max_ends).unwrap_or(DEFAULT_MAX_ENDS),
                expedite_rcu: args.hurry.expedite_rcu || file.expedite_rcu,
            },
        })
    }
}

impl AttachArgs {
    /// What was said, with the defaults.
    #[must_use]
    pub fn resolve(&self, hurry: HurryArgs) -> AttachOptions {
        AttachOptions {
            mode: self.attach.unwrap_or_default(),
            max_ends: self.max_ends.unwrap_or(DEFAULT_MAX_ENDS),
            expedite_rcu: hurry.expedite_rcu,
        }
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: name.clone(), source })?;
    serde_saphyr::from_str(&text).map_err(|error| {
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        ConfigError::Parse { path: name, reason }
    })
}

/// What the file says, read.
struct Checked {
    linger: Option<Duration>,
    lease: Option<Duration>,
    max_ends: Option<u32>,
}

impl File {
    fn check(&self, path: Option<&Path>) -> Result<Checked, Vec<ConfigError>> {
        let mut mistakes = Vec::new();
        let mut mistake = |reason: String| {
            let path = path.map(|path| path.display().to_string()).unwrap_or_default();
            mistakes.push(ConfigError::Parse { path, reason });
        };
        let mut time = |name, written: &Option<String>, example| match written.as_deref() {
            None => None,
            Some(text) => humantime::parse_duration(text)
                .map_err(|error| mistake(format!("{name}: {error}; write for example {example}")))
                .ok(),
        };
        let linger = time("linger", &self.linger, "5m");
        let lease = time("lease", &self.lease, "60s");
        if !self.max_ends.is_none_or(|ends| (1..=1_048_576).contains(&ends)) {
            mistake("max_ends: use 1 to 1048576".to_owned());
        }
        if mistakes.is_empty() {
            Ok(Checked { linger, lease, max_ends: self.max_ends })
        } else {
            Err(mistakes)
        }
    }
}
