use super::*;
use crate::{layout, plan::Content};

fn strings(strings: &[&str]) -> OemStrings {
    let mut all = OemStrings::default();
    for string in strings {
        all.push(string.as_bytes().to_vec()).unwrap();
    }
    all
}

fn bytes(strings: &OemStrings) -> Vec<u8> {
    let placement = tables(strings, layout::SMBIOS).unwrap().unwrap();
    assert_eq!(placement.range.start(), layout::SMBIOS.start());
    match placement.pieces.as_slice() {
        [piece] => match &piece.content {
            Content::Bytes(bytes) => {
                assert_eq!((piece.offset, bytes.len() as u64), (0, placement.range.len()));
                bytes.clone()
            }
            Content::File(_) => panic!("tables are bytes"),
        },
        pieces => panic!("one piece, not {pieces:?}"),
    }
}

/// Type, handle, fields and strings of each structure, as Linux walks them
/// (drivers/firmware/dmi_scan.c, `dmi_decode_table`).
fn walk(mut table: &[u8]) -> Vec<(u8, u16, Vec<u8>, Vec<String>)> {
    let mut found = Vec::new();
    while table.len() >= 4 {
        let (kind, len) = (table[0], usize::from(table[1]));
        let handle = u16::from_le_bytes([table[2], table[3]]);
        let end = len + table[len..].windows(2).position(|two| two == [0, 0]).unwrap();
        let strings = table[len..end].split(|byte| *byte == 0).filter(|string| !string.is_empty());
        let strings = strings.map(|string| String::from_utf8(string.to_vec()).unwrap()).collect();
        found.push((kind, handle, table[4..len].to_vec(), strings));
        table = &table[end + 2..];
    }
    assert!(table.is_empty(), "nothing behind the last structure");
    found
}

#[test]
fn without_strings_there_are_no_tables() {
    assert_eq!(tables(&OemStrings::default(), layout::SMBIOS), Ok(None));
}

#[test]
fn the_anchor_is_what_linux_looks_for() {
    let bytes = bytes(&strings(&["one"]));
    assert_eq!(&bytes[..5], b"_SM3_");
    assert_eq!(bytes[6], 24);
    assert_eq!(bytes[..24].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    assert_eq!(bytes[7..12], [3, 0, 0, 1, 0]);
    let len = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    let at = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
    assert_eq!(at, layout::SMBIOS.start() + 32);
    assert_eq!(u64::from(len), bytes.len() as u64 - 32);
}

#[test]
fn the_structures_are_firmware_system_strings_and_an_end() {
    let bytes = bytes(&strings(&["one=1", "two"]));
    let found = walk(&bytes[32..]);
    let kinds: Vec<_> = found.iter().map(|(kind, handle, ..)| (*kind, *handle)).collect();
    assert_eq!(kinds, [(0, 0), (1, 1), (11, 2), (127, 3)]);
    let (_, _, firmware, names) = &found[0];
    assert_eq!(firmware.len(), 0x18 - 4);
    assert_eq!(firmware[0x13 - 4] & 1 << 4, 1 << 4, "it is a virtual machine");
    assert_eq!(firmware[0x0a - 4..0x12 - 4], [8, 0, 0, 0, 0, 0, 0, 0], "and no more is told");
    assert_eq!(names[..], ["ukivm", "none", "01/01/2026"]);
    let (_, _, system, names) = &found[1];
    assert_eq!(system.len(), 0x1b - 4);
    assert_eq!(system[4..20], [0; 16], "no UUID");
    assert_eq!(names[..], ["ukivm", "ukivm"]);
    assert_eq!((&found[2].2[..], &found[2].3[..]), (&[2][..], &["one=1".into(), "two".into()][..]));
    assert_eq!((found[3].2.len(), found[3].3.len()), (0, 0));
}

#[test]
fn more_strings_than_one_structure_can_count_are_in_several() {
    let names: Vec<String> = (0..600).map(|number| format!("s{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = walk(&bytes(&strings(&names))[32..]);
    let told: Vec<_> = found.iter().filter(|(kind, ..)| *kind == 11).collect();
    assert_eq!(told.iter().map(|told| told.2[0]).collect::<Vec<_>>(), [255, 255, 90]);
    assert_eq!(told.iter().flat_map(|told| &told.3).collect::<Vec<_>>(), names);
}

#[test]
fn tables_fill_their_area_to_the_last_byte_and_no_further() {
    let with = |len: usize| tables(&strings(&[&"x".repeat(len)]), layout::SMBIOS);
    let rest = with(1).unwrap().unwrap().range.len() - 1;
    let most = usize::try_from(layout::SMBIOS.len() - rest).unwrap();
    assert_eq!(with(most).unwrap().unwrap().range, layout::SMBIOS);
    assert_eq!(
        with(most + 1).unwrap_err(),
        TooLarge { wanted: layout::SMBIOS.len() + 1, room: layout::SMBIOS.len() }
    );
}

#[test]
fn what_would_end_the_list_early_is_no_string() {
    let mut all = OemStrings::default();
    assert_eq!(all.push(Vec::new()), Err(StringError::Empty));
    assert_eq!(all.push(b"ab\0c".to_vec()), Err(StringError::Nul { at: 2 }));
    assert!(all.is_empty());
}
