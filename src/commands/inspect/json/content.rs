//! What a kernel is handed, as JSON.

use firmware_less::{
    inspection::{InitrdFacts, Inspection, KernelFacts, Segment},
    kernel::protocol,
    plan::{Content, FileId},
};
use serde::Serialize;

use super::{compression, entry};
use crate::{
    commands::inspect::subject::{AddonFacts, Applies},
    digest::hex,
    messages::chain,
};

/// A part of the initrd.
#[derive(Serialize)]
pub(super) struct Part {
    origin: String,
    offset: u64,
    len: u64,
    /// Where in the UKI it is; null where it is packed, or an addon's.
    file_offset: Option<u64>,
    segments: Vec<SegmentReport>,
}

#[derive(Serialize)]
struct SegmentReport {
    format: String,
    /// From the part's beginning.
    offset: u64,
    len: u64,
    records: Option<u32>,
    sha256: Option<String>,
}

impl Part {
    pub(super) fn of(part: &InitrdFacts) -> Self {
        let base = match &part.content {
            Content::File(slice) => slice.range.offset(),
            Content::Bytes(_) => 0,
        };
        let in_uki = matches!(&part.content, Content::File(slice) if slice.file == FileId::UKI);
        let digests = part.digests.iter().copied().chain(std::iter::repeat(None));
        let segment = |(segment, digest): (&Segment, Option<[u8; 32]>)| SegmentReport {
            format: segment.format.to_string(),
            offset: segment.range.offset().saturating_sub(base),
            len: segment.range.len(),
            records: segment.records,
            sha256: digest.map(|digest| hex(&digest)),
        };
        Self {
            origin: part.origin.to_string(),
            offset: part.offset,
            len: part.content.len(),
            file_offset: in_uki.then_some(base),
            segments: part.segments.iter().zip(digests).map(segment).collect(),
        }
    }
}

/// An addon.
#[derive(Serialize)]
pub(super) struct AddonReport {
    path: String,
    applied: bool,
    cmdline: Option<String>,
    initrd: Option<u64>,
    ucode: Option<u64>,
    uname: Option<String>,
    refused: Option<String>,
}

impl AddonReport {
    pub(super) fn of(facts: &AddonFacts) -> Self {
        let addon = facts.found.as_ref().ok();
        Self {
            path: facts.path.display().to_string(),
            applied: facts.applies == Applies::Yes,
            cmdline: addon.and_then(|addon| addon.cmdline.clone()),
            initrd: addon.and_then(|addon| addon.initrd).map(|slice| slice.range.len()),
            ucode: addon.and_then(|addon| addon.ucode).map(|slice| slice.range.len()),
            uname: addon.and_then(|addon| addon.uname.as_ref()).map(|uname| uname.as_str().into()),
            refused: facts.found.as_ref().err().cloned(),
        }
    }
}

/// The kernel's headers, in the boot protocol's names where it has any.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum KernelReport {
    Sound {
        version: Option<String>,
        protocol: String,
        entry_file_offset: u64,
        pref_address: u64,
        kernel_alignment: u64,
        init_size: u64,
        cmdline_size: u64,
        xloadflags: u16,
        payload: Option<String>,
        /// The least RAM, in bytes, of a machine that everything can be loaded on.
        least_memory: Option<u64>,
    },
    Refused {
        refused: String,
    },
}

impl KernelReport {
    /// `None` where there is no kernel.
    pub(super) fn of(inspection: &Inspection) -> Option<Self> {
        Some(match inspection.kernel.as_ref()? {
            Err(error) => Self::Refused { refused: chain(error) },
            Ok(KernelFacts { kernel, version, payload }) => Self::Sound {
                version: version.clone(),
                protocol: protocol(kernel.version()),
                entry_file_offset: entry(kernel),
                pref_address: kernel.pref_address(),
                kernel_alignment: kernel.kernel_alignment(),
                init_size: kernel.init_size(),
                cmdline_size: kernel.cmdline_size(),
                xloadflags: kernel.xloadflags(),
                payload: payload.map(|(format, _)| compression(format)),
                least_memory: inspection.least_memory().and_then(Result::ok),
            },
        })
    }
}
