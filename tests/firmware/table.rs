//! The table in README.md that explains each difference.

use super::seen::Difference;

const README: &str = include_str!("../../README.md");

const HEADER: &str = "| UKI | what | firmware and systemd-stub | ukivm | why |";

/// The differences that the table has for `uki`, sorted by what differs.
pub(super) fn explained(uki: &str) -> Vec<Difference> {
    let mut rows: Vec<_> =
        rows().into_iter().filter(|(row, _)| row == uki).map(|(_, row)| row).collect();
    rows.sort();
    rows
}

/// Each row: the UKI, and what is different.
fn rows() -> Vec<(String, Difference)> {
    let table = README.lines().skip_while(|line| *line != HEADER).skip(2);
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn row(line: &str) -> (String, Difference) {
    let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
    let [_, uki, what, firmware, ukivm, why, _] = cells.try_into().expect(line);
    assert!(!why.is_empty(), "no reason in {line}");
    (uki, Difference { what, firmware, ukivm })
}

/// Each of these is compared by a test, and so the rows for it are.
#[test]
fn each_row_of_the_table_is_for_a_uki_that_is_compared() {
    let mut ukis: Vec<String> = rows().into_iter().map(|(uki, _)| uki).collect();
    ukis.dedup();
    assert_eq!(ukis, ["addons", "astral", "extras", "plain on a disk in use"]);
}
