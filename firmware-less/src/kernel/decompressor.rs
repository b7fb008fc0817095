//! The decompressor in a bzImage: where it leaves for the kernel that it unpacked.

use super::Kernel;
use crate::{range::index, read_at::ReadAt};

/// The instruction by which a decompressor leaves.
///
/// arch/x86/boot/compressed/head_64.S: at `startup_64` the decompressor takes the
/// end of the room it may have (`init_size`) less its own length (`subl $ rva(_end),
/// %ebx`), moves there, unpacks, and jumps to what it unpacked (`.Lrelocated`: `movq
/// %r15, %rsi`, `jmp *%rax`). Both instructions are found by their bytes, which are
/// the same in Linux 6.1 to 7.3; a decompressor in which they are not found just so
/// is one that nothing is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Where it is, from the start of the protected-mode code.
    offset: u64,
    /// The decompressor's length in memory.
    len: u64,
    init_size: u64,
    kernel_alignment: u64,
    pref_address: u64,
}

impl Leave {
    /// The instruction in `kernel`, whose file is `source`.
    pub fn find(kernel: &Kernel, source: &(impl ReadAt + ?Sized)) -> Option<Self> {
        let code = kernel.protected_mode();
        let payload = kernel.payload()?;
        let behind = payload.end();
        let before = payload.offset().checked_sub(code.offset())?.checked_sub(ENTRY_64)?;
        let head = read(source, code.offset().checked_add(ENTRY_64)?, before)?;
        let tail = read(source, behind, code.end().checked_sub(behind)?)?;

        let lengths = places(&head, &SUB_EBX).filter_map(|at| {
            let operand = at.checked_add(SUB_EBX.len())?;
            let bytes = head.get(operand..)?.first_chunk()?;
            Some(u64::from(u32::from_le_bytes(*bytes)))
        });
        let len = only(lengths)?;
        let place = only(places(&tail, &LEAVE))?;
        let instruction = u64::try_from(place.checked_add(BEFORE_JUMP)?).ok()?;
        let (init_size, kernel_alignment) = (kernel.init_size(), kernel.kernel_alignment());
        Some(Self {
            offset: behind.checked_sub(code.offset())?.checked_add(instruction)?,
            len,
            init_size,
            kernel_alignment,
            pref_address: kernel.pref_address(),
        })
    }

    /// The guest address of the instruction, by the time it is executed, of a kernel
    /// whose protected-mode code was loaded at `load`.
    #[must_use]
    pub fn address(&self, load: u64) -> Option<u64> {
        let output = load.checked_next_multiple_of(self.kernel_alignment)?.max(self.pref_address);
        let moved = self.init_size.checked_sub(self.len)?;
        output.checked_add(moved)?.checked_add(self.offset)
    }
}

/// Where the 64-bit entry is. Boot protocol, "64-bit Boot Protocol".
const ENTRY_64: u64 = 0x200;
/// `sub ebx, imm32`.
const SUB_EBX: [u8; 2] = [0x81, 0xeb];
/// `mov rsi, r15`, `jmp rax`.
const LEAVE: [u8; 5] = [0x4c, 0x89, 0xfe, 0xff, 0xe0];
/// The length of the former.
const BEFORE_JUMP: usize = 3;
/// The most code that is looked through: what is around the payload is small.
const CODE_MAX: u64 = 4 << 20;

fn read(source: &(impl ReadAt + ?Sized), offset: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; index(len.min(CODE_MAX))];
    source.read_exact_at(offset, &mut bytes).ok()?;
    Some(bytes)
}

fn places<'a>(code: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    code.windows(wanted.len())
        .enumerate()
        .filter(move |(_, found)| *found == wanted)
        .map(|(at, _)| at)
}

/// The value, if there is one and no other.
fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{range::FileRange, testing::bzimage};

    /// A kernel with `head` at its entry, a payload at 0x300, and `tail` behind it.
    fn leave(head: &[u8], tail: &[u8]) -> Option<Leave> {
        let mut code = vec![0x90; 0x200];
        code.extend_from_slice(head);
        code.resize(0x400, 0x90);
        code.extend_from_slice(tail);
        let image = bzimage().protected_mode(code).build();
        let kernel = Kernel::read(&image[..], FileRange::first(image.len() as u64)).unwrap();
        Leave::find(&kernel, &image[..])
    }

    const HEAD: [u8; 7] = [0x90, 0x81, 0xeb, 0x00, 0x10, 0x02, 0x00];
    const TAIL: [u8; 7] = [0x90, 0x90, 0x4c, 0x89, 0xfe, 0xff, 0xe0];

    #[test]
    fn it_is_where_the_decompressor_has_moved_to() {
        // Its length is 0x2_1000 of 3 MiB; the jump is at 0x405.
        let leave = leave(&HEAD, &TAIL).unwrap();
        let moved = (3 << 20) - 0x2_1000 + 0x405;
        assert_eq!(leave.address(0x1000_0000), Some(0x1000_0000 + moved));
        assert_eq!(leave.address(0x1000_0001), Some(0x1020_0000 + moved), "aligned to 2 MiB");
        assert_eq!(leave.address(0x10_0000), Some(0x100_0000 + moved), "never below 16 MiB");
        assert_eq!(leave.address(u64::MAX), None);
    }

    #[test]
    fn it_is_not_guessed() {
        assert_eq!(leave(&[], &TAIL), None, "a length that is not known");
        assert_eq!(leave(&HEAD, &[]), None, "no such jump");
        assert_eq!(leave(&HEAD, &[TAIL, TAIL].concat()), None, "two of them");
        let other = [0x81, 0xeb, 0x00, 0x20, 0x02, 0x00];
        assert_eq!(leave(&[&HEAD[..], &other].concat(), &TAIL), None, "two lengths");
        let twice = [HEAD, HEAD].concat();
        assert_eq!(leave(&twice, &TAIL), leave(&HEAD, &TAIL), "the 32-bit entry has it too");
    }

    #[test]
    fn a_length_past_the_room_has_no_address() {
        let leave = leave(&[0x81, 0xeb, 0xff, 0xff, 0xff, 0xff], &TAIL).unwrap();
        assert_eq!(leave.address(0x100_0000), None);
    }
}
