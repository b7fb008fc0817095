//! QEMU's devices on PCI, as those of the KVM engine: same slots, features and queues.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use firmware_less::pci::{Kind, Slot};

use super::arguments::file;
use crate::{
    attached::{Attached, Disk, Network, Share},
    cli::{DiskFormat, Plug},
};

/// Arguments for what is in `slots`, and the files that QEMU inherits for it. `vsock` is where
/// ours is served.
pub(super) fn arguments(
    slots: impl Iterator<Item = Slot>,
    attached: &Attached,
    mut vsock: Option<OwnedFd>,
) -> io::Result<(Vec<String>, Vec<OwnedFd>)> {
    let (mut arguments, mut files) = (Vec::new(), Vec::new());
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    let mut disks = attached.disks.iter().enumerate();
    let mut networks = attached.networks.iter().enumerate();
    let mut shares = attached.shares.iter().enumerate();
    for Slot { number, kind } in slots {
        let slot = format!("bus=pcie.0,addr={number:#x},romfile=");
        let place = format!("{slot},disable-legacy=on");
        match kind {
            Kind::Disk => {
                let Some((id, disk)) = disks.next() else { continue };
                let image = OwnedFd::from(disk.file.try_clone()?);
                let (option, value) = image_of(disk, id, image.as_raw_fd());
                add(option, value);
                files.push(image);
                add("-device", disk_device(disk, id, &place));
            }
            Kind::Random => {
                add("-object", "rng-builtin,id=random".to_owned());
                add("-device", format!("virtio-rng-pci,{place},rng=random"));
            }
            Kind::Console => {
                add("-device", format!("virtio-serial-pci,{place},max_ports=1"));
                add("-device", format!("virtconsole,chardev={CONSOLE}"));
            }
            Kind::Network => {
                let Some((id, network)) = networks.next() else { continue };
                let (file, mtu) = network.file()?;
                add("-netdev", plug_of(network, id, file.as_raw_fd()));
                files.push(file);
                add(
                    "-device",
                    format!(
                        "virtio-net-pci,{place},netdev=net{id},mac={},host_mtu={mtu},{CARD}",
                        network.mac
                    ),
                );
            }
            Kind::Share => {
                let Some((id, share)) = shares.next() else { continue };
                let socket = share.socket()?;
                add("-chardev", format!("socket,id=share{id},fd={}", socket.as_raw_fd()));
                files.push(socket);
                // That it has no legacy registers can't be said of it: it never has.
                add("-device", share_device(share, id, &slot));
            }
            Kind::Vsock => {
                let Some(socket) = vsock.take() else { continue };
                add("-chardev", format!("socket,id=vsock,fd={}", socket.as_raw_fd()));
                files.push(socket);
                add(
                    "-device",
                    format!("vhost-user-vsock-pci,{place},chardev=vsock,vectors=4,queue_reset=off"),
                );
            }
        }
    }
    Ok((arguments, files))
}

/// What the console is connected to: QEMU's name for it.
pub(super) const CONSOLE: &str = "hvc0";

/// What the card that the KVM engine has offers, and no more.
const CARD: &str = "rx_queue_size=256,tx_queue_size=256,ctrl_vq=off,ctrl_rx=off,ctrl_rx_extra=off,\
                    ctrl_vlan=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,guest_announce=off,\
                    csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,\
                    guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,\
                    queue_reset=off";

/// The disk in its place, by its image of that number. What fails is the guest's to see: QEMU by
/// itself stops a guest whose disk has no room, and waits for somebody to tell it to go on.
fn disk_device(disk: &Disk, id: usize, place: &str) -> String {
    let discard = if disk.discard { "on" } else { "off" };
    let serial = disk.serial.replace(',', ",,");
    format!(
        "virtio-blk-pci,{place},drive=disk{id},serial={serial},num-queues=1,queue-size=256,\
         discard={discard},werror=report,rerror=report"
    )
}

/// The share in its slot, served at the socket of that number.
fn share_device(share: &Share, id: usize, slot: &str) -> String {
    let tag = share.tag.replace(',', ",,");
    format!("vhost-user-fs-pci,{slot},chardev=share{id},tag={tag},queue_reset=off")
}

/// The option that plugs the card into the file of that number.
fn plug_of(network: &Network, id: usize, number: RawFd) -> String {
    match network.plug {
        Plug::User => {
            format!("stream,id=net{id},server=off,addr.type=fd,addr.str={number}")
        }
        Plug::Tap(_) => format!("tap,id=net{id},fd={number},vhost=off"),
    }
}

/// The option that gives QEMU the image of that disk.
fn image_of(disk: &Disk, id: usize, number: RawFd) -> (&'static str, String) {
    let path = file(number);
    // Always said, so that QEMU does not look for itself. That an image has no other beneath it
    // is said too: it would be opened by the name in the image.
    let (driver, nothing_else) = match disk.format {
        DiskFormat::Raw => ("raw", ""),
        DiskFormat::Qcow2 => ("qcow2", r#","backing":null"#),
    };
    let file = format!(r#""driver":"{driver}","file":{{"driver":"file","filename":"{path}"}}"#);
    let discard = if disk.discard { "unmap" } else { "ignore" };
    if disk.ephemeral && !disk.read_only {
        // QEMU keeps the changes in a file without a name.
        let file = format!("json:{{{file}{nothing_else}}}").replace(',', ",,");
        let snapshot = format!("if=none,id=disk{id},snapshot=on,discard={discard},file={file}");
        return ("-drive", snapshot);
    }
    let read_only = disk.read_only;
    let image = format!(
        r#"{{{file}{nothing_else},"node-name":"disk{id}","read-only":{read_only},"discard":"{discard}"}}"#
    );
    ("-blockdev", image)
}

/// Whether QEMU with these arguments makes files of its own.
pub(super) fn makes_files(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument.contains("snapshot=on"))
}
