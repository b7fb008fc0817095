//! Images from outside, good, bad and hostile, through everything that reads them.
#![expect(clippy::arithmetic_side_effects, reason = "a test stops at an overflow")]

#[cfg(test)]
mod accepted;
#[cfg(test)]
mod addons;
#[cfg(test)]
mod described;
#[cfg(test)]
mod extra;
#[cfg(test)]
mod handed;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod inspection;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod pcr11;
#[cfg(test)]
mod pcrsig;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod readings;
#[cfg(test)]
mod real;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod signature;
#[cfg(test)]
mod wrong_files;
