//! `--net` and `--publish`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use thiserror::Error;

use crate::devices::virtio::net::{Mac, MacError};

/// `--net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetOption {
    /// What the card is plugged into.
    pub plug: Plug,
    /// Its address, where the user chose one.
    pub mac: Option<Mac>,
}

/// What a network card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plug {
    /// A network of its own, by passt.
    User,
    /// The host's tap device of that name.
    Tap(String),
}

/// What is wrong with a value of `--net`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NetError {
    /// Neither.
    #[error("{0:?} is neither user nor tap=NAME")]
    Plug(String),
    /// No name that an interface can have.
    #[error("{0:?} can't be the name of a network interface: 1 to 15 bytes, no blank, no slash")]
    Name(String),
    /// An address that is none.
    #[error(transparent)]
    Mac(#[from] MacError),
    /// The same key twice.
    #[error("mac is given twice")]
    Twice,
    /// A key that is none.
    #[error("{0:?} is not mac=ADDRESS")]
    Unknown(String),
}

/// The most bytes of the name of an interface. include/uapi/linux/if.h, IFNAMSIZ.
const NAME_MAX: usize = 15;

impl FromStr for NetOption {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let mut words = text.split(',');
        let plug = match words.next().unwrap_or_default() {
            "user" => Plug::User,
            word => match word.strip_prefix("tap=") {
                Some(name) if is_name(name) => Plug::Tap(name.to_owned()),
                Some(name) => return Err(NetError::Name(name.to_owned())),
                None => return Err(NetError::Plug(word.to_owned())),
            },
        };
        let mut mac = None;
        for word in words {
            let value = word.strip_prefix("mac=");
            let value = value.ok_or_else(|| NetError::Unknown(word.to_owned()))?;
            if mac.replace(value.parse()?).is_some() {
                return Err(NetError::Twice);
            }
        }
        Ok(Self { plug, mac })
    }
}

/// Whether an interface can be called so. net/core/dev.c, `dev_valid_name`.
fn is_name(name: &str) -> bool {
    let is_sound = |byte: u8| !byte.is_ascii_whitespace() && !b"/:\x0b".contains(&byte);
    (1..=NAME_MAX).contains(&name.len())
        && ![".", ".."].contains(&name)
        && name.bytes().all(is_sound)
}

impl fmt::Display for Plug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Tap(name) => write!(f, "tap={name}"),
        }
    }
}

/// `--publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Who is let in: whoever calls the host by this address.
    pub address: IpAddr,
    /// The host's port.
    pub host: u16,
    /// The guest's.
    pub guest: u16,
    /// Of which protocol both are.
    pub protocol: Protocol,
}

/// What ports are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What is wrong with a value of `--publish`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PublishError {
    /// Not two ports.
    #[error("want [HOSTADDR:]HOST:GUEST[/udp], as in 8080:80")]
    Form,
    /// Not a port.
    #[error("{0:?} is no port: 1 to 65535")]
    Port(String),
    /// Not an address.
    #[error("{0:?} is no IP address of the host's (one of IPv6 in brackets)")]
    Address(String),
    /// No such protocol.
    #[error("{0:?} is neither tcp nor udp")]
    Protocol(String),
}

impl FromStr for Publish {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(PublishError::Protocol(other.to_owned())),
        };
        let (rest, guest) = ports.rsplit_once(':').ok_or(PublishError::Form)?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => (Some(address), host),
            None => (None, rest),
        };
        let address = match address {
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(text) => {
                let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                let parsed = match bare {
                    Some(bare) => bare.parse().map(IpAddr::V6),
                    None => text.parse().map(IpAddr::V4),
                };
                parsed.map_err(|_not_one| PublishError::Address(text.to_owned()))?
            }
        };
        Ok(Self { address, host: port(host)?, guest: port(guest)?, protocol })
    }
}

fn port(text: &str) -> Result<u16, PublishError> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| PublishError::Port(text.to_owned()))
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        write!(f, ":{}:{}", self.host, self.guest)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> NetOption {
        text.parse().unwrap()
    }

    fn wrong_net(text: &str) -> String {
        text.parse::<NetOption>().unwrap_err().to_string()
    }

    fn published(text: &str) -> String {
        text.parse::<Publish>().map_or_else(|error| error.to_string(), |right| right.to_string())
    }

    #[test]
    fn a_network_is_the_users_or_a_tap_and_may_have_an_address() {
        assert_eq!(net("user"), NetOption { plug: Plug::User, mac: None });
        let mac = Some(Mac([2, 0, 0, 0, 0, 7]));
        let tap = NetOption { plug: Plug::Tap("tap0".into()), mac };
        assert_eq!(net("tap=tap0,mac=02:00:00:00:00:07"), tap);
    }

    #[test]
    fn what_is_wrong_with_a_network_is_said() {
        assert_eq!(wrong_net(""), "\"\" is neither user nor tap=NAME");
        assert_eq!(wrong_net("bridge=br0"), "\"bridge=br0\" is neither user nor tap=NAME");
        assert_eq!(wrong_net("user,mtu=9000"), "\"mtu=9000\" is not mac=ADDRESS");
        assert_eq!(
            wrong_net("user,mac=02:00:00:00:00:07,mac=02:00:00:00:00:07"),
            "mac is given twice"
        );
        for name in ["", "..", "a/b", "a b", "sixteen-bytes-xx"] {
            assert_eq!(
                wrong_net(&format!("tap={name}")),
                format!(
                    "{name:?} can't be the name of a network interface: 1 to 15 bytes, no blank, \
                     no slash"
                )
            );
        }
    }

    #[test]
    fn ports_are_published_to_the_host_alone_unless_an_address_is_given() {
        assert_eq!(published("8080:80"), "127.0.0.1:8080:80");
        assert_eq!(published("8080:80/tcp"), "127.0.0.1:8080:80");
        assert_eq!(published("0.0.0.0:53:53/udp"), "0.0.0.0:53:53/udp");
        assert_eq!(published("[::1]:8080:80"), "[::1]:8080:80");
    }

    #[test]
    fn what_is_wrong_with_ports_is_said() {
        assert_eq!(published("8080"), "want [HOSTADDR:]HOST:GUEST[/udp], as in 8080:80");
        assert_eq!(published("8080:0"), "\"0\" is no port: 1 to 65535");
        assert_eq!(published("65536:80"), "\"65536\" is no port: 1 to 65535");
        assert_eq!(published("8080:80/sctp"), "\"sctp\" is neither tcp nor udp");
        for address in ["localhost", "::1", ""] {
            let expected = "is no IP address of the host's (one of IPv6 in brackets)";
            assert_eq!(published(&format!("{address}:8080:80")), format!("{address:?} {expected}"));
        }
    }
}
