//! Plans that can't be loaded.

use firmware_less::{
    plan::{BootPlan, Content, FileId, FileSlice, Piece, Placement},
    range::{FileRange, GuestRange},
};
use ukivm::{
    engine::tcg::{Error, Vm},
    files::{Files, OpenFile},
};

use super::{
    guest::{self, machine},
    have_qemu,
};
use crate::support::Scratch;

/// A plan with `more` in it, loaded.
fn load(more: Placement, files: &Files) -> Result<(), Error> {
    let like = guest::plan(machine(), vec![0xf4]);
    let mut placements = guest::placements(&machine(), vec![0xf4]);
    placements.push(more);
    let plan = BootPlan::new(machine(), like.memory_map().clone(), placements, like.cpu().clone());
    Vm::create(&machine()).unwrap().load(&plan.unwrap(), files).map(drop)
}

#[test]
fn a_file_that_shrank_is_named_with_both_its_ends() {
    if !have_qemu("a_file_that_shrank_is_named_with_both_its_ends") {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("initrd", [1; 100]);
    let mut files = Files::default();
    let file = files.push(OpenFile::open(&path).unwrap());
    scratch.file("initrd", [1; 50]);
    let range = FileRange::new(10, 90).unwrap();
    let content = Content::File(FileSlice { file, range });
    let initrd = Placement::of_pieces(
        "initrd",
        GuestRange::constant(0x20_0000, 0x1000),
        vec![Piece { offset: 0, content }],
    );
    let error = load(initrd, &files).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}: ends at 0x32, had at least 0x64 bytes when it was opened", path.display())
    );
}

#[test]
fn a_plan_for_other_files_is_refused() {
    if !have_qemu("a_plan_for_other_files_is_refused") {
        return;
    }
    let slice = FileSlice { file: FileId(3), range: FileRange::new(0, 1).unwrap() };
    let initrd = Placement::of_pieces(
        "initrd",
        GuestRange::constant(0x20_0000, 0x1000),
        vec![Piece { offset: 0, content: Content::File(slice) }],
    );
    assert_eq!(
        load(initrd, &Files::default()).unwrap_err().to_string(),
        "the plan wants file 3 for initrd, which the job does not have"
    );
}

#[test]
fn nothing_is_placed_where_the_guest_would_see_rom() {
    if !have_qemu("nothing_is_placed_where_the_guest_would_see_rom") {
        return;
    }
    for start in [0xc_0000, 0xd_f000, 0xf_0000] {
        let range = GuestRange::constant(start, 0x1000);
        let hidden = Placement::of_bytes("hidden", range, vec![1]);
        let error = load(hidden, &Files::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("hidden at {range} lies behind QEMU's ROM at ")));
    }
}
