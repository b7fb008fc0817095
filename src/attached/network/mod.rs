//! Network cards, and what they are plugged into.

mod error;
mod passt;
mod tap;

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};

pub use self::error::Error;
use self::passt::Passt;
use crate::{
    cli::{DeviceOptions, NetOption, Plug, Publish},
    devices::virtio::net::{Mac, Net, SharedWire, Stream, Tap},
};

/// A network card that a guest is to have.
#[derive(Debug)]
pub struct Network {
    /// What it is plugged into.
    pub plug: Plug,
    /// Its address.
    pub mac: Mac,
    /// The ports of the guest's at which the host is let in.
    pub publish: Vec<Publish>,
    line: Mutex<Option<Line>>,
}

/// A card plugged in.
#[derive(Debug)]
struct Line {
    wire: SharedWire,
    mtu: u16,
    end: End,
}

/// The other end, which is there as long as this is.
#[derive(Debug)]
enum End {
    Passt(Passt),
    Tap(File),
}

/// The address of the first card that is plugged into a network of its own: local, "uki".
const USER: [u8; 6] = [0x02, 0x75, 0x6b, 0x69, 0, 0];

impl Network {
    /// The cards that `options` name.
    pub(super) fn all(options: &DeviceOptions) -> Vec<Self> {
        let mut publish = options.publish.clone();
        let network = |(number, option): (usize, &NetOption)| Self {
            plug: option.plug.clone(),
            mac: option.mac.unwrap_or_else(|| mac(&option.plug, number)),
            publish: match option.plug {
                Plug::User => std::mem::take(&mut publish),
                Plug::Tap(_) => Vec::new(),
            },
            line: Mutex::new(None),
        };
        options.net.iter().enumerate().map(network).collect()
    }

    /// Plugs the card in, where it is not. An `anew`, whatever was at the other end is replaced:
    /// nobody knows where in a frame an engine was that was ended.
    pub(super) fn plug_in(&self, anew: bool) -> Result<(), Error> {
        let mut line = self.line();
        if line.is_some() && !(anew && self.plug == Plug::User) {
            return Ok(());
        }
        // First, since it has the ports.
        drop(line.take());
        *line = Some(match &self.plug {
            Plug::User => Line::user(&self.publish)?,
            Plug::Tap(name) => Line::tap(name)?,
        });
        Ok(())
    }

    /// The card of that number, plugged in.
    pub(super) fn device(&self, number: usize) -> io::Result<Net> {
        let line = self.line();
        let line = line.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Net::new(number, self.mac, line.mtu, Arc::clone(&line.wire)))
    }

    /// What the card is plugged into, for an engine that has one of its own, and its MTU.
    pub(crate) fn file(&self) -> io::Result<(OwnedFd, u16)> {
        let line = self.line();
        let line = line.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let file = match &line.end {
            End::Passt(passt) => passt.socket()?.into(),
            End::Tap(tap) => tap.try_clone()?.into(),
        };
        Ok((file, line.mtu))
    }

    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn user(publish: &[Publish]) -> Result<Self, Error> {
        let passt = Passt::start(publish)?;
        let wire = Stream::new(passt.socket().map_err(Error::Handle)?);
        Ok(Self { wire: Arc::new(Mutex::new(wire)), mtu: passt::MTU, end: End::Passt(passt) })
    }

    fn tap(name: &str) -> Result<Self, Error> {
        let (file, mtu) = tap::open(name)?;
        let wire = Tap::new(file.try_clone().map_err(Error::Handle)?);
        Ok(Self { wire: Arc::new(Mutex::new(wire)), mtu, end: End::Tap(file) })
    }
}

/// The address of card number `number`, the same every time. Networks of their own are each
/// for itself; on a host's bridge each tap is another card.
fn mac(plug: &Plug, number: usize) -> Mac {
    match plug {
        Plug::User => {
            let mut address = USER;
            address[5] = u8::try_from(number).unwrap_or(u8::MAX);
            Mac(address)
        }
        Plug::Tap(name) => {
            let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
            Mac::local(digest.first_chunk().copied().unwrap_or(USER))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_the_same_address_every_time_and_another_than_its_neighbour() {
        let tap = |name: &str| mac(&Plug::Tap(name.into()), 0).to_string();
        assert_eq!(mac(&Plug::User, 0).to_string(), "02:75:6b:69:00:00");
        assert_eq!(mac(&Plug::User, 1).to_string(), "02:75:6b:69:00:01");
        assert_eq!(tap("tap0"), tap("tap0"));
        assert_ne!(tap("tap0"), tap("tap1"));
        let Mac([first, ..]) = mac(&Plug::Tap("tap0".into()), 0);
        assert_eq!(first & 3, 2, "of a card, and nobody's");
    }
}
