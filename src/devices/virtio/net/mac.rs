//! The address of a network card.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// An address on a network: of six bytes, and of one card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// What is wrong with an address.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MacError {
    /// It is none.
    #[error("{0:?} is no MAC address, as 02:12:34:56:78:9a is one")]
    Form(String),
    /// It is that of a group.
    #[error("{0} is the address of a group, not of a card: its first byte is odd")]
    Group(Mac),
}

impl Mac {
    /// The address as one of a card that no manufacturer gave away: the two lowest bits of the
    /// first byte say so. IEEE 802-2014, 8.2.2.
    #[must_use]
    pub const fn local(mut bytes: [u8; 6]) -> Self {
        bytes[0] = bytes[0] & !3 | 2;
        Self(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if number == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let form = || MacError::Form(text.to_owned());
        let byte = |byte: &str| {
            let is_sound = byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(byte, 16).ok().filter(|_| is_sound)
        };
        let bytes = text.split(':').map(byte).collect::<Option<Vec<u8>>>().ok_or_else(form)?;
        let mac = Self(bytes.try_into().map_err(|_other: Vec<u8>| form())?);
        if mac.0[0] & 1 != 0 { Err(MacError::Group(mac)) } else { Ok(mac) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let mac: Mac = "02:ab:00:FF:10:09".parse().unwrap();
        assert_eq!(mac, Mac([2, 0xab, 0, 0xff, 0x10, 9]));
        assert_eq!(mac.to_string(), "02:ab:00:ff:10:09");
    }

    #[test]
    fn what_is_no_address_of_a_card_is_refused() {
        let wrong = |text: &str| text.parse::<Mac>().unwrap_err().to_string();
        for text in
            ["", "02:ab:00:ff:10", "02:ab:00:ff:10:09:11", "+2:ab:00:ff:10:09", "2:a:0:f:1:9"]
        {
            let expected = format!("{text:?} is no MAC address, as 02:12:34:56:78:9a is one");
            assert_eq!(wrong(text), expected);
        }
        assert_eq!(
            wrong("01:00:5e:00:00:01"),
            "01:00:5e:00:00:01 is the address of a group, not of a card: its first byte is odd"
        );
    }
}
